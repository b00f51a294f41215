//! Detect: an upright picture to faces with landmarks. Letterboxes onto the detector's canvas, batches the canvases
//! of different requests, and reads the outputs back into picture coordinates. Called by the pipeline.

use std::{sync::Arc, time::Instant};

use domain::Problem;
use inference::{Outputs, SessionHandle};
use vision::{BatchItem, Detection, DetectorHead, DetectorParams, Letterbox, Normalisation, OutputView, Rgb8};

use super::{Batching, ModelRun, Planes, decode::Picture};
use crate::{batcher::Batcher, cpu::CpuPool, stages::in_time};

/// The model's role in metrics.
const MODEL: &str = "detector";

/// One picture's share of a batch of outputs.
type Share = (Arc<Outputs>, BatchItem);

/// What a detector is fed and how its outputs are read, from its manifest.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// Of the canvas.
    pub normalisation: Normalisation,
    /// Family of the outputs.
    pub head: DetectorHead,
    /// What counts as a face.
    pub params: DetectorParams,
    /// Side of the square canvas in pixels.
    pub canvas: u32,
}

/// Finds faces.
#[derive(Clone)]
pub struct Detector {
    batcher: Batcher<Planes, Share>,
    normalisation: Normalisation,
    head: DetectorHead,
    params: DetectorParams,
    canvas: u32,
    cpu: CpuPool,
}

impl Detector {
    /// A detector on a warmed session.
    #[must_use]
    pub fn new(session: SessionHandle, reads: Reads, batching: Batching, cpu: CpuPool) -> Self {
        let Reads { normalisation, head, params, canvas } = reads;
        let item = [3, canvas as usize, canvas as usize];
        let run = Arc::new(ModelRun { model: MODEL, session, item, observer: batching.observer.clone() });
        let batcher = Batcher::spawn_observed(MODEL, batching.policy, batching.observer, move |items: Vec<Planes>| {
            let run = Arc::clone(&run);
            async move {
                let of = items.len();
                let outputs = Arc::new(run.batch(items).await?);
                Ok((0..of).map(|index| (Arc::clone(&outputs), BatchItem { index, of })).collect())
            }
        });
        Self { batcher, normalisation, head, params, canvas, cpu }
    }

    /// Faces of one picture, the most prominent first, in its pixels. Gives the picture back for alignment.
    ///
    /// # Errors
    /// `inference_failed`, `overloaded`, `deadline_exceeded`.
    pub async fn detect(&self, picture: Picture, deadline: Instant) -> Result<(Picture, Vec<Detection>), Problem> {
        in_time(deadline)?;
        let (width, height) = (picture.pixels.width(), picture.pixels.height());
        let fit = Letterbox::fit(width, height, self.canvas, self.canvas);
        let normalisation = self.normalisation;
        let (picture, canvas) = self
            .cpu
            .run(move || letterbox(&picture.pixels, &fit, &normalisation).map(|canvas| (picture, canvas)))
            .await??;
        let (outputs, item) = self.batcher.submit(Arc::new(canvas), deadline).await?;
        let views: Vec<OutputView<'_>> = outputs
            .iter()
            .map(|(name, tensor)| OutputView { name, shape: tensor.shape(), data: tensor.data() })
            .collect();
        let found = self.head.decode(&views, (self.canvas, self.canvas), item, &self.params);
        let found = found.map_err(|e| Problem::new(e.code(), e.to_string()))?;
        let mut faces: Vec<Detection> = found.iter().map(|d| fit.to_image(d)).collect();
        vision::sort_by_prominence(&mut faces, width, height);
        Ok((picture, faces))
    }
}

fn letterbox(picture: &Rgb8, fit: &Letterbox, normalisation: &Normalisation) -> Result<Vec<f32>, Problem> {
    let mut canvas = vec![0.0; 3 * fit.canvas_width as usize * fit.canvas_height as usize];
    vision::letterbox_tensor(picture, fit, normalisation, &mut canvas)
        .map_err(|e| Problem::new(e.code(), e.to_string()))?;
    Ok(canvas)
}
