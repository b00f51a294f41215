//! Detect: an upright picture to faces with landmarks. Looks at the picture as `vision::Views` proposes, and reads the
//! outputs back into picture coordinates. Called by the pipeline: on processors in the thread that holds the picture,
//! on a GPU with the views of different requests in one batch.

use std::{sync::Arc, time::Instant};

use domain::{ErrorCode, Problem};
use futures::future::try_join_all;
use inference::{EnginePool, OutputRef, Outputs, SessionHandle};
use vision::{BatchItem, Detection, DetectorHead, DetectorParams, Letterbox, Normalisation, OutputView, Rgb8, Views};

use super::{Batching, ModelRun, Planes, decode::Picture, problem, takes_batches};
use crate::{
    batcher::{Batcher, Observer},
    cpu::CpuPool,
    stages::in_time,
};

/// The model's role in metrics.
const MODEL: &str = "detector";

/// One view's share of a batch of outputs.
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
    /// Where it looks.
    pub views: Views,
}

/// Finds faces.
#[derive(Clone)]
pub struct Detector {
    on: On,
    reads: Reads,
    cpu: CpuPool,
}

#[derive(Clone)]
enum On {
    /// The caller's own thread.
    Cores { engines: EnginePool, observer: Option<Arc<dyn Observer>> },
    /// A session that takes batches.
    Batches(Batcher<Planes, Share>),
}

impl Detector {
    /// A detector on warmed engines, for processors.
    #[must_use]
    pub fn on_cores(engines: EnginePool, reads: Reads, observer: Option<Arc<dyn Observer>>, cpu: CpuPool) -> Self {
        Self { on: On::Cores { engines, observer }, reads, cpu }
    }

    /// A detector on a warmed session with canvases of `side × side`.
    #[must_use]
    pub fn batched(session: SessionHandle, reads: Reads, side: u32, batching: Batching, cpu: CpuPool) -> Self {
        let item = [3, side as usize, side as usize];
        let run = Arc::new(ModelRun { model: MODEL, session, item, observer: batching.observer.clone() });
        let batcher = Batcher::spawn_observed(MODEL, batching.policy, batching.observer, move |items: Vec<Planes>| {
            let run = Arc::clone(&run);
            async move {
                let of = items.len();
                let outputs = Arc::new(run.batch(items).await?);
                Ok((0..of).map(|index| (Arc::clone(&outputs), BatchItem { index, of })).collect())
            }
        });
        Self { on: On::Batches(batcher), reads, cpu }
    }

    /// Whether [`Self::find`] works: the caller's thread computes.
    #[must_use]
    pub const fn is_on_cores(&self) -> bool {
        matches!(self.on, On::Cores { .. })
    }

    /// Faces of one picture, the most prominent first, in its pixels. Computes on this thread.
    ///
    /// # Errors
    /// `inference_failed`, `deadline_exceeded`; `internal` for a detector that takes batches.
    pub fn find(&self, picture: &Rgb8, deadline: Instant) -> Result<Vec<Detection>, Problem> {
        let On::Cores { engines, observer } = &self.on else { return Err(takes_batches()) };
        let (width, height) = (picture.width(), picture.height());
        let mut faces = self.look(engines, observer.as_deref(), picture, &self.reads.views.first(width, height))?;
        if faces.is_empty() {
            for step in self.reads.views.further(width, height) {
                for view in &step {
                    in_time(deadline)?;
                    faces.extend(self.look(engines, observer.as_deref(), picture, view)?);
                }
                if !faces.is_empty() {
                    break;
                }
            }
        }
        Ok(self.in_order(faces, width, height))
    }

    /// Faces of one picture, the most prominent first, in its pixels. Gives the picture back for alignment.
    ///
    /// # Errors
    /// `inference_failed`, `overloaded`, `deadline_exceeded`.
    pub async fn detect(&self, picture: Picture, deadline: Instant) -> Result<(Picture, Vec<Detection>), Problem> {
        in_time(deadline)?;
        let On::Batches(batcher) = &self.on else {
            let detector = self.clone();
            let found = self.cpu.run(move || detector.find(&picture.pixels, deadline).map(|faces| (picture, faces)));
            return found.await?;
        };
        let (width, height) = (picture.pixels.width(), picture.pixels.height());
        let picture = Arc::new(picture);
        let mut steps = vec![vec![self.reads.views.first(width, height)]];
        steps.extend(self.reads.views.further(width, height));
        let mut faces = Vec::new();
        for step in steps {
            let found = try_join_all(step.iter().map(|view| self.submit(batcher, &picture, *view, deadline))).await?;
            faces = found.concat();
            if !faces.is_empty() {
                break;
            }
        }
        let gone = || Problem::new(ErrorCode::Internal, "a picture was kept after detection");
        let picture = Arc::into_inner(picture).ok_or_else(gone)?;
        Ok((picture, self.in_order(faces, width, height)))
    }

    fn look(
        &self,
        engines: &EnginePool,
        observer: Option<&dyn Observer>,
        picture: &Rgb8,
        view: &Letterbox,
    ) -> Result<Vec<Detection>, Problem> {
        let shape = [1, 3, view.canvas_height as usize, view.canvas_width as usize];
        let fill = |canvas: &mut [f32]| {
            vision::letterbox_tensor(picture, view, &self.reads.normalisation, canvas).map_err(|e| problem(e.code(), e))
        };
        let (faces, elapsed) = engines.run(&shape, fill, |outputs| {
            let views = outputs.iter().map(|OutputRef { name, shape, data }| OutputView { name, shape, data });
            self.read(&views.collect::<Vec<_>>(), view, BatchItem::SINGLE)
        })?;
        if let Some(observer) = observer {
            observer.ran(MODEL, elapsed);
        }
        faces
    }

    /// A run on the canvas of a picture of this size, and nothing around it.
    ///
    /// # Errors
    /// `inference_failed`; `internal` for a detector that takes batches.
    pub fn alone(&self, (width, height): (u32, u32)) -> Result<(), Problem> {
        let view = self.reads.views.first(width, height);
        let On::Cores { engines, .. } = &self.on else { return Err(takes_batches()) };
        engines.run(
            &[1, 3, view.canvas_height as usize, view.canvas_width as usize],
            |_| Ok::<_, Problem>(()),
            |_| (),
        )?;
        Ok(())
    }

    async fn submit(
        &self,
        batcher: &Batcher<Planes, Share>,
        picture: &Arc<Picture>,
        view: Letterbox,
        deadline: Instant,
    ) -> Result<Vec<Detection>, Problem> {
        let (picture, normalisation) = (Arc::clone(picture), self.reads.normalisation);
        let canvas = self.cpu.run(move || {
            let mut canvas = vec![0.0; 3 * view.canvas_width as usize * view.canvas_height as usize];
            vision::letterbox_tensor(&picture.pixels, &view, &normalisation, &mut canvas).map(|()| canvas)
        });
        let canvas = canvas.await?.map_err(|e| problem(e.code(), e))?;
        let (outputs, item) = batcher.submit(Arc::new(canvas), deadline).await?;
        let views =
            outputs.iter().map(|(name, tensor)| OutputView { name, shape: tensor.shape(), data: tensor.data() });
        self.read(&views.collect::<Vec<_>>(), &view, item)
    }

    /// One view's outputs as faces in the picture.
    fn read(&self, views: &[OutputView<'_>], view: &Letterbox, item: BatchItem) -> Result<Vec<Detection>, Problem> {
        let canvas = (view.canvas_width, view.canvas_height);
        let found = self.reads.head.decode(views, canvas, item, &self.reads.params);
        let found = found.map_err(|e| problem(e.code(), e))?;
        Ok(found.iter().map(|d| view.to_image(d)).collect())
    }

    /// A face that several tiles show counts once.
    fn in_order(&self, faces: Vec<Detection>, width: u32, height: u32) -> Vec<Detection> {
        let mut faces = vision::suppress(faces, &self.reads.params);
        vision::sort_by_prominence(&mut faces, width, height);
        faces
    }
}
