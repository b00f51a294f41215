//! Loading: manifests and verified model files to warm sessions and a pipeline. Called by [`crate::Worker::start`]
//! and by tools that need the pipeline without a queue.

use std::{str::FromStr, sync::Arc};

use domain::ErrorCode;
use inference::{Expected, InferenceError, OnnxRuntime, OrtEngine, SessionHandle, SessionOptions, buckets_up_to};
use models::{Input, Manifest, Model, ModelError, ModelSet};
use queue::QueueError;
use store::StoreError;
use vision::{Alignment, ChannelOrder, DetectorHead, DetectorParams, Normalisation};

use crate::{
    batcher::{Observer, Policy},
    config::WorkerConfig,
    cpu::CpuPool,
    metrics::Metrics,
    pipeline::Pipeline,
    stages::{
        Batching,
        decode::Decoder,
        detect::{Detector, Reads},
        embed::Embedder,
    },
};

/// Why a worker could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A model did not load or run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// A manifest does not describe what is needed.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue refused the consumer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Metrics of these names exist.
    #[error("the worker's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// A manifest's field has a value this version does not know.
    #[error("model {model}: {reason}")]
    Manifest {
        /// The model.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// Loading was interrupted.
    #[error("loading the models was interrupted")]
    Interrupted,
}

impl WorkerError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::ModelNotReady
    }
}

/// Loads and warms both models and wires the stages. Runs on a blocking thread: sessions take a second or two.
///
/// # Errors
/// [`WorkerError`].
pub async fn pipeline(
    config: &WorkerConfig,
    models: ModelSet,
    runtime: OnnxRuntime,
    metrics: Option<&Metrics>,
) -> Result<Pipeline, WorkerError> {
    let (settings, set) = (config.clone(), models);
    let loading = tokio::task::spawn_blocking(move || {
        let reads = reads(&set.detector.manifest, settings.detector_canvas)?;
        let canvas = settings.detector_canvas as usize;
        let detector = session(&settings, &runtime, &set.detector, [3, canvas, canvas], settings.detect_batch)?;
        let alignment = alignment(&set.embedder.manifest)?;
        let side = alignment.side() as usize;
        let embedder = session(&settings, &runtime, &set.embedder, [3, side, side], settings.embed_batch)?;
        let normalisation = normalisation(&set.embedder.manifest.input);
        Ok::<_, WorkerError>((reads, detector, alignment, embedder, normalisation, set.contract()))
    });
    let loaded = loading.await.map_err(|_| WorkerError::Interrupted)??;
    let (reads, detector, alignment, embedder, normalisation, contract) = loaded;
    let cpu = CpuPool::new(config.cpu_threads());
    let batching = |session: &SessionHandle| Batching {
        policy: Policy::new(session.max_batch(), config.batch_delay, buckets_up_to(session.max_batch())),
        observer: metrics.map(|m| Arc::new(m.clone()) as Arc<dyn Observer>),
    };
    let decoder = Decoder::new(config.limits, config.max_pixels_in_flight, cpu.clone());
    #[cfg(debug_assertions)]
    let decoder = decoder.crash_on(config.crash_on.as_deref());
    let (detecting, embedding) = (batching(&detector), batching(&embedder));
    Ok(Pipeline {
        decoder,
        detector: Detector::new(detector, reads, detecting, cpu.clone()),
        embedder: Embedder::new(embedder, normalisation, contract, alignment.side(), embedding),
        alignment,
        cpu,
    })
}

/// One warm session.
fn session(
    config: &WorkerConfig,
    runtime: &OnnxRuntime,
    model: &Model,
    item_shape: [usize; 3],
    max_batch: usize,
) -> Result<SessionHandle, WorkerError> {
    let options = SessionOptions {
        provider: config.provider,
        threads: config.session_threads(),
        max_batch: max_batch.max(1),
        ..SessionOptions::default()
    };
    let expected = Expected {
        model: model.manifest.name.clone(),
        item_shape: item_shape.to_vec(),
        outputs: model.manifest.output_names(),
        output_dim: model.manifest.embedder().map(|e| e.dim),
    };
    let engine = OrtEngine::load(runtime, &model.onnx, &options, &expected)?;
    let session = SessionHandle::spawn(&model.manifest.name, engine)?;
    session.warm_up(&item_shape)?;
    Ok(session)
}

fn reads(manifest: &Manifest, canvas: u32) -> Result<Reads, WorkerError> {
    let detector = manifest.detector().ok_or_else(|| unfit(manifest, "it is no detector"))?;
    let head = DetectorHead::from_str(detector.head.as_str()).map_err(|e| unfit(manifest, &e.to_string()))?;
    let params = DetectorParams {
        score_threshold: detector.score_threshold,
        iou_threshold: detector.nms_threshold,
        ..head.default_params()
    };
    Ok(Reads { normalisation: normalisation(&manifest.input), head, params, canvas })
}

fn alignment(manifest: &Manifest) -> Result<Alignment, WorkerError> {
    let embedder = manifest.embedder().ok_or_else(|| unfit(manifest, "it is no embedder"))?;
    Alignment::from_str(&embedder.alignment).map_err(|e| unfit(manifest, &e.to_string()))
}

fn normalisation(input: &Input) -> Normalisation {
    let order = match input.channel_order {
        models::ChannelOrder::Rgb => ChannelOrder::Rgb,
        models::ChannelOrder::Bgr => ChannelOrder::Bgr,
    };
    Normalisation { order, mean: input.mean, scale: input.scale }
}

fn unfit(manifest: &Manifest, reason: &str) -> WorkerError {
    WorkerError::Manifest { model: manifest.name.clone(), reason: reason.to_owned() }
}
