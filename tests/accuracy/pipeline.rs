//! The worker's own pipeline in this process: the same stages and models, without queue and HTTP.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::models::ModelSet;
use bytes::Bytes;
use inference::OnnxRuntime;
use prometheus::{HistogramOpts, HistogramVec};
use vision::Rgb8;
use worker::{Analysis, Context, Pipeline, Timings, WorkerConfig};

/// A pipeline and what its calls need.
pub struct Models {
    pipeline: Pipeline,
    timings: Arc<Timings>,
}

impl Models {
    /// Fetches (once per machine) and loads YuNet with this embedder.
    pub async fn with(embedder: &str) -> Self {
        Self::of(crate::models::load(embedder).await).await
    }

    /// The same on the canvas of the reference pipelines: small pictures are enlarged to 640.
    pub async fn on_the_references_canvas(embedder: &str) -> Self {
        let config = WorkerConfig { detector_canvas_least: 640, ..WorkerConfig::default() };
        Self::configured(&config, crate::models::load(embedder).await).await
    }

    /// A pipeline of these models.
    pub async fn of(models: (ModelSet, OnnxRuntime)) -> Self {
        Self::configured(&WorkerConfig::default(), models).await
    }

    async fn configured(config: &WorkerConfig, (set, runtime): (ModelSet, OnnxRuntime)) -> Self {
        let pipeline = worker::load_pipeline(config, set, runtime, None).await.expect("a pipeline");
        let histogram = HistogramVec::new(HistogramOpts::new("stages", "stages"), &["stage"]).expect("a histogram");
        Self { pipeline, timings: Arc::new(Timings::new(histogram)) }
    }

    fn context(&self) -> Context {
        Context { deadline: Instant::now() + Duration::from_secs(120), timings: Arc::clone(&self.timings) }
    }

    /// Everything about one picture, the most prominent face first.
    pub async fn analyse(&self, image: Bytes, max_faces: usize) -> Analysis {
        self.pipeline.analyse(image, max_faces, &self.context()).await.expect("a picture that can be read")
    }

    /// Embeddings of aligned crops, in one call.
    pub async fn embed(&self, crops: &[Rgb8]) -> Vec<Vec<f32>> {
        let crops: Vec<&Rgb8> = crops.iter().collect();
        let templates = self.pipeline.embed(&crops, &self.context()).await.expect("embeddings");
        templates.iter().map(domain::Template::to_f32).collect()
    }
}
