//! From image bytes to faces and templates: decode → detect → align → embed, in that order for every image, with the
//! model runs batched over all images there are. Jobs call it, and so does the evaluator.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use domain::{ContractId, Face, Problem, Template};
use vision::{Alignment, Rgb8};

use crate::{
    cpu::CpuPool,
    stages::{
        align::{self, AlignedFace},
        decode::Decoder,
        detect::Detector,
        embed::Embedder,
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

    /// Faces of one image, at most `max_faces` of them (0 for all).
    ///
    /// # Errors
    /// The image's own problem, `inference_failed`, `overloaded` or `deadline_exceeded`.
    pub async fn detect(&self, image: Bytes, max_faces: usize, context: &Context) -> Result<Found, Problem> {
        let start = Instant::now();
        let picture = self.decoder.decode(image, context.deadline).await?;
        context.timings.since(Stage::Decode, start);

        let start = Instant::now();
        let (width, height) = (picture.pixels.width(), picture.pixels.height());
        let (picture, mut found) = self.detector.detect(picture, context.deadline).await?;
        context.timings.since(Stage::Detect, start);

        let start = Instant::now();
        if max_faces > 0 {
            found.truncate(max_faces);
        }
        let faces = align::align(&self.cpu, picture, found, self.alignment).await?;
        context.timings.since(Stage::Align, start);
        Ok(Found { width, height, faces })
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
        Ok(Analysis { width: found.width, height: found.height, faces: faces.collect() })
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pipeline({})", self.contract())
    }
}
