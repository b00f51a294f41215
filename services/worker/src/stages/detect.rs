//! Detect: an upright picture to faces with landmarks. Looks at the picture as `vision::Views` proposes, and reads the
//! outputs back into picture coordinates. Called by the pipeline: on processors in the thread that holds the picture,
//! on a GPU with the views of different requests in one batch.

use std::{sync::Arc, time::Instant};

use domain::{ErrorCode, Problem};
use futures::future::try_join_all;
use inference::{EnginePool, OutputRef, Outputs, SessionHandle};
use vision::{BatchItem, Detection, DetectorHead, DetectorParams, Letterbox, Normalisation, OutputView, Rgb8, Views};

use super::{Batching, ModelRun, Planes, computes_itself, decode::Picture, problem, takes_batches};
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

/// What was seen in one picture.
#[derive(Clone, Debug)]
pub struct Seen {
    /// In its pixels, the most prominent first.
    pub faces: Vec<Detection>,
    /// Canvases on which an engine looked, (width, height), in order; none for a detector that takes batches.
    pub canvases: Vec<(u32, u32)>,
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

    /// Faces of one picture, the most prominent first, in its pixels, at most `max_faces` (0 for all). Computes on this
    /// thread.
    ///
    /// # Errors
    /// `inference_failed`, `deadline_exceeded`; `internal` for a detector that takes batches.
    pub fn find(&self, picture: &Rgb8, max_faces: usize, deadline: Instant) -> Result<Seen, Problem> {
        let On::Cores { engines, observer } = &self.on else { return Err(takes_batches()) };
        let (width, height) = (picture.width(), picture.height());
        let mut look = Look { detector: self, engines, observer: observer.as_deref(), picture, canvases: Vec::new() };
        if max_faces == 1
            && let Some(face) = look.at_one()?
        {
            return Ok(Seen { faces: vec![face], canvases: look.canvases });
        }
        let mut faces = look.at(&self.reads.views.first(width, height), &self.reads.params)?;
        if faces.is_empty() {
            for step in self.reads.views.further(width, height) {
                for view in &step {
                    in_time(deadline)?;
                    faces.extend(look.at(view, &self.reads.params)?);
                }
                if !faces.is_empty() {
                    break;
                }
            }
        }
        let canvases = look.canvases;
        Ok(Seen { faces: self.in_order(faces, (width, height), max_faces), canvases })
    }

    /// The same for a detector that takes batches. Gives the picture back for alignment.
    ///
    /// # Errors
    /// `inference_failed`, `overloaded`, `deadline_exceeded`; `internal` on processors.
    pub async fn detect(
        &self,
        picture: Picture,
        max_faces: usize,
        deadline: Instant,
    ) -> Result<(Picture, Seen), Problem> {
        in_time(deadline)?;
        let On::Batches(batcher) = &self.on else { return Err(computes_itself()) };
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
        let faces = self.in_order(faces, (width, height), max_faces);
        Ok((picture, Seen { faces, canvases: Vec::new() }))
    }

    /// A run on a canvas of this size, and nothing around it.
    ///
    /// # Errors
    /// `inference_failed`; `internal` for a detector that takes batches.
    pub fn alone(&self, (width, height): (u32, u32)) -> Result<(), Problem> {
        let On::Cores { engines, .. } = &self.on else { return Err(takes_batches()) };
        engines.run(&[1, 3, height as usize, width as usize], |_| Ok::<_, Problem>(()), |_| ())?;
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
        self.read(&views.collect::<Vec<_>>(), &view, item, &self.reads.params)
    }

    /// One view's outputs as faces in the picture.
    fn read(
        &self,
        views: &[OutputView<'_>],
        view: &Letterbox,
        item: BatchItem,
        params: &DetectorParams,
    ) -> Result<Vec<Detection>, Problem> {
        let canvas = (view.canvas_width, view.canvas_height);
        let found = self.reads.head.decode(views, canvas, item, params);
        let found = found.map_err(|e| problem(e.code(), e))?;
        Ok(found.iter().map(|d| view.to_image(d)).collect())
    }

    /// A face that several tiles show counts once.
    fn in_order(&self, faces: Vec<Detection>, (width, height): (u32, u32), max_faces: usize) -> Vec<Detection> {
        let mut faces = vision::suppress(faces, &self.reads.params);
        vision::sort_by_prominence(&mut faces, width, height);
        if max_faces > 0 {
            faces.truncate(max_faces);
        }
        faces
    }
}

/// One picture being looked at in the thread that holds it.
struct Look<'a> {
    detector: &'a Detector,
    engines: &'a EnginePool,
    observer: Option<&'a dyn Observer>,
    picture: &'a Rgb8,
    canvases: Vec<(u32, u32)>,
}

impl Look<'_> {
    /// Faces of one view, in pixels of the picture.
    fn at(&mut self, view: &Letterbox, params: &DetectorParams) -> Result<Vec<Detection>, Problem> {
        let (detector, picture) = (self.detector, self.picture);
        let shape = [1, 3, view.canvas_height as usize, view.canvas_width as usize];
        let fill = |canvas: &mut [f32]| {
            let filled = vision::letterbox_tensor(picture, view, &detector.reads.normalisation, canvas);
            filled.map_err(|e| problem(e.code(), e))
        };
        let (faces, elapsed) = self.engines.run(&shape, fill, |outputs| {
            let views = outputs.iter().map(|OutputRef { name, shape, data }| OutputView { name, shape, data });
            detector.read(&views.collect::<Vec<_>>(), view, BatchItem::SINGLE, params)
        })?;
        if let Some(observer) = self.observer {
            observer.ran(MODEL, elapsed);
        }
        self.canvases.push((view.canvas_width, view.canvas_height));
        faces
    }

    /// The one face that stands out, as the first view would show it; `None` where only that view can tell.
    fn at_one(&mut self) -> Result<Option<Detection>, Problem> {
        let Reads { views, params, .. } = &self.detector.reads;
        let size = (self.picture.width(), self.picture.height());
        let Some(scout) = views.scout(size.0, size.1) else { return Ok(None) };
        let scouted = self.at(&scout, &Views::scouting(params))?;
        let Some(close) = views.close(size, &scouted, params.score_threshold) else { return Ok(None) };
        Ok(close.meant(&self.at(&close.view, params)?))
    }
}
