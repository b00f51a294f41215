//! From image bytes to faces and templates: decode → detect → align → embed, in that order for every image, with the
//! model runs batched over all images there are. Jobs call it, and so does the evaluator.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use domain::{ContractId, Face, Problem, Template};
use vision::{Alignment, Rgb8};

use crate::{
    cpu::CpuPool,
    stages::{
        align::{self, AlignedFace, Cut},
        decode::{Decoder, Picture},
        detect::{Detector, Seen},
        embed::Embedder,
        in_time,
    },
    timings::{Stage, Timings},
};

/// The stages, wired; cheap to clone.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) decoder: Decoder,
    pub(crate) detector: Detector,
    pub(crate) embedder: Embedder,
    pub(crate) alignment: Alignment,
    pub(crate) cpu: CpuPool,
}

/// Faces of one picture, the most prominent first.
#[derive(Clone, Debug)]
pub struct Found {
    /// Of the upright picture.
    pub width: u32,
    /// Of the upright picture.
    pub height: u32,
    /// Ready to be embedded.
    pub faces: Vec<AlignedFace>,
    /// Canvases on which the detector looked, (width, height), where it runs on processors.
    pub canvases: Vec<(u32, u32)>,
}

/// A face with its template.
#[derive(Clone, Debug)]
pub struct AnalysedFace {
    /// Box, landmarks, pose and quality.
    pub face: Face,
    /// Its template.
    pub template: Template,
}

/// Everything about one picture.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Of the upright picture.
    pub width: u32,
    /// Of the upright picture.
    pub height: u32,
    /// The most prominent first.
    pub faces: Vec<AnalysedFace>,
    /// As [`Found::canvases`].
    pub canvases: Vec<(u32, u32)>,
}

/// What one job's calls have in common.
#[derive(Clone, Debug)]
pub struct Context {
    /// No stage begins after it.
    pub deadline: Instant,
    /// Where the time goes.
    pub timings: Arc<Timings>,
}

impl Pipeline {
    /// The contract of the templates it makes.
    #[must_use]
    pub const fn contract(&self) -> ContractId {
        self.embedder.contract()
    }

    /// Model runs at a time, where they run on processors.
    #[must_use]
    pub fn engines(&self) -> Option<usize> {
        self.detector.is_on_cores().then(|| self.cpu.size())
    }

    /// Runs the models as a picture with one face would that the detector sees on these canvases, and does nothing
    /// else, on this thread: the bound of everything around them. For processors.
    ///
    /// # Errors
    /// `inference_failed`.
    pub fn models_alone(&self, canvases: &[(u32, u32)]) -> Result<(), Problem> {
        canvases.iter().try_for_each(|canvas| self.detector.alone(*canvas))?;
        self.embedder.alone(self.alignment.side())
    }

    /// Faces of one image, at most `max_faces` of them (0 for all).
    ///
    /// # Errors
    /// The image's own problem, `inference_failed`, `overloaded` or `deadline_exceeded`.
    pub async fn detect(&self, image: Bytes, max_faces: usize, context: &Context) -> Result<Found, Problem> {
        self.detect_and_cut(image, (max_faces, Cut::Close), context).await
    }

    /// As [`Self::detect`], each face with what lies around it as well ([`AlignedFace::wide`]): for training.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub async fn detect_wide(&self, image: Bytes, max_faces: usize, context: &Context) -> Result<Found, Problem> {
        self.detect_and_cut(image, (max_faces, Cut::AlsoWide), context).await
    }

    /// Name and side of the alignment.
    #[must_use]
    pub(crate) const fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// As [`Self::detect`], with what lies around each face if that is asked for.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub(crate) async fn detect_and_cut(
        &self,
        image: Bytes,
        (max_faces, cut): (usize, Cut),
        context: &Context,
    ) -> Result<Found, Problem> {
        let admitted = self.decoder.admit(image, context.deadline).await?;
        let (stages, timings, deadline) = (self.clone(), Arc::clone(&context.timings), context.deadline);
        if self.detector.is_on_cores() {
            // One thread from bytes to crops: the pixels stay in its caches, and nobody waits in between.
            let all = move || {
                let picture = timings.time(Stage::Decode, || admitted.decode())?;
                in_time(deadline)?;
                let seen =
                    timings.time(Stage::Detect, || stages.detector.find(&picture.pixels, max_faces, deadline))?;
                Ok(stages.aligned(&picture, seen, cut, &timings))
            };
            return self.cpu.run(all).await?;
        }
        let decoded = {
            let timings = Arc::clone(&timings);
            self.cpu.run(move || timings.time(Stage::Decode, || admitted.decode())).await??
        };
        let start = Instant::now();
        let (picture, seen) = self.detector.detect(decoded, max_faces, deadline).await?;
        timings.since(Stage::Detect, start);
        self.cpu.go_on(move || stages.aligned(&picture, seen, cut, &timings)).await
    }

    fn aligned(&self, picture: &Picture, seen: Seen, cut: Cut, timings: &Timings) -> Found {
        let faces = timings.time(Stage::Align, || align::align(&picture.pixels, &seen.faces, self.alignment, cut));
        Found { width: picture.pixels.width(), height: picture.pixels.height(), faces, canvases: seen.canvases }
    }

    /// A template for each crop, in order.
    ///
    /// # Errors
    /// `inference_failed`, `overloaded` or `deadline_exceeded`.
    pub async fn embed(&self, crops: &[&Rgb8], context: &Context) -> Result<Vec<Template>, Problem> {
        let start = Instant::now();
        let templates = self.embedder.embed(crops, context.deadline).await;
        context.timings.since(Stage::Embed, start);
        templates
    }

    /// The template of one crop.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn embed_one(&self, crop: &Rgb8, context: &Context) -> Result<Template, Problem> {
        let start = Instant::now();
        let template = self.embedder.embed_one(crop, context.deadline).await;
        context.timings.since(Stage::Embed, start);
        template
    }

    /// Faces of one image together with their templates, at most `max_faces` (0 for all).
    ///
    /// # Errors
    /// As [`Self::detect`] and [`Self::embed`].
    pub async fn analyse(&self, image: Bytes, max_faces: usize, context: &Context) -> Result<Analysis, Problem> {
        let found = self.detect(image, max_faces, context).await?;
        let crops: Vec<&Rgb8> = found.faces.iter().map(|f| &f.crop).collect();
        let templates = self.embed(&crops, context).await?;
        let faces = found.faces.into_iter().zip(templates).map(|(f, template)| AnalysedFace { face: f.face, template });
        let faces = faces.collect();
        Ok(Analysis { width: found.width, height: found.height, faces, canvases: found.canvases })
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({})", self.contract())
    }
}
