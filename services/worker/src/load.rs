//! Loading: manifests and verified model files to warm sessions and a pipeline. Called by [`crate::Worker::start`]
//! and by tools that need the pipeline without a queue.

use std::{str::FromStr, sync::Arc};

use domain::ErrorCode;
use inference::{
    Engine, EnginePool, Expected, InferenceError, OnnxRuntime, OrtEngine, Provider, SessionHandle, SessionOptions,
    buckets_up_to,
};
use models::{Input, Manifest, Model, ModelError, ModelSet};
use queue::QueueError;
use store::StoreError;
use vision::{Alignment, Canvas, ChannelOrder, DetectorHead, DetectorParams, Normalisation, Views};

use crate::{
    batcher::{Observer, Policy},
    config::{WorkerConfig, cores},
    cpu::CpuPool,
    layout::Layout,
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
    /// The system gives no thread.
    #[error("the worker's threads cannot be started: {0}")]
    Threads(#[from] std::io::Error),
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

/// Loads and warms both models and wires the stages. Works on a blocking thread: it takes a second or two.
///
/// # Errors
/// [`WorkerError`].
pub async fn pipeline(
    config: &WorkerConfig,
    models: ModelSet,
    runtime: OnnxRuntime,
    metrics: Option<&Metrics>,
) -> Result<Pipeline, WorkerError> {
    let observer = metrics.map(|m| Arc::new(m.clone()) as Arc<dyn Observer>);
    let on_cores = config.provider == Provider::Cpu;
    let loading = Loading { config: config.clone(), models, runtime };
    let reads = reads(&loading.models.detector.manifest, config)?;
    let alignment = alignment(&loading.models.embedder.manifest)?;
    let normalisation = normalisation(&loading.models.embedder.manifest.input);
    let contract = loading.models.contract();
    let decoder = Decoder::new(config.limits, config.max_pixels_in_flight);
    #[cfg(debug_assertions)]
    let decoder = decoder.crash_on(config.crash_on.as_deref());
    let side = alignment.side();
    let (detector, embedder, cpu) = if on_cores {
        let (layout, detecting, embedding) = blocking(move || loading.pools(side as usize)).await?;
        // As many pictures in work as there are engines: one more would only take the others' cores.
        let cpu = CpuPool::new(if config.cpu_threads == 0 { layout.engines } else { config.cpu_threads })?;
        let detector = Detector::on_cores(detecting, reads, observer.clone(), cpu.clone());
        (detector, Embedder::on_cores(embedding, normalisation, contract, observer, cpu.clone()), cpu)
    } else {
        let (detecting, embedding) = blocking(move || loading.sessions(side as usize)).await?;
        let cpu = CpuPool::new(config.cpu_threads())?;
        let batching = |session: &SessionHandle| Batching {
            policy: Policy::new(session.max_batch(), config.batch_delay, buckets_up_to(session.max_batch())),
            observer: observer.clone(),
        };
        let (detects, embeds) = (batching(&detecting), batching(&embedding));
        let detector = Detector::batched(detecting, reads, config.detector_canvas, detects, cpu.clone());
        (detector, Embedder::batched(embedding, normalisation, contract, side, embeds), cpu)
    };
    Ok(Pipeline { decoder, detector, embedder, alignment, cpu })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WorkerError::Interrupted)?
}

/// What engines are made of.
struct Loading {
    config: WorkerConfig,
    models: ModelSet,
    runtime: OnnxRuntime,
}

impl Loading {
    /// Engines of both models for processors, warm, in the configured layout or the one that is measured to be best.
    fn pools(&self, side: usize) -> Result<(Layout, EnginePool, EnginePool), WorkerError> {
        let canvas = self.config.detector_canvas as usize;
        let (crop, picture) = ([1, 3, side, side], [1, 3, canvas, canvas]);
        let embedder = |threads| self.engine(&self.models.embedder, &crop[1..], (threads, 1));
        let cores = cores();
        let (layout, embedders) = match self.config.session_threads {
            0 => Layout::measured(cores, &crop, embedder)?,
            threads => {
                let layout = Layout::with_threads(threads, cores);
                (layout, layout.load(&embedder)?)
            }
        };
        tracing::info!(engines = layout.engines, threads = layout.threads, "runs of a model, and threads of each");
        let detectors = layout.load(&|threads| self.engine(&self.models.detector, &picture[1..], (threads, 1)))?;
        let pool = |model: &Model, engines: Vec<OrtEngine>, shape: &[usize]| {
            let engines = engines.into_iter().map(|e| Box::new(e) as Box<dyn Engine>).collect();
            let pool = EnginePool::new(&model.manifest.name, engines).ok_or(WorkerError::Interrupted)?;
            pool.warm_up(shape)?;
            Ok::<_, WorkerError>(pool)
        };
        let detecting = pool(&self.models.detector, detectors, &picture)?;
        Ok((layout, detecting, pool(&self.models.embedder, embedders, &crop)?))
    }

    /// A warm session of each model, for a GPU.
    fn sessions(&self, side: usize) -> Result<(SessionHandle, SessionHandle), WorkerError> {
        let canvas = self.config.detector_canvas as usize;
        let session = |model: &Model, item: [usize; 3], batch: usize| {
            let engine = self.engine(model, &item, (self.config.session_threads(), batch))?;
            let session = SessionHandle::spawn(&model.manifest.name, engine)?;
            session.warm_up(&item)?;
            Ok::<_, WorkerError>(session)
        };
        let detector = session(&self.models.detector, [3, canvas, canvas], self.config.detect_batch)?;
        Ok((detector, session(&self.models.embedder, [3, side, side], self.config.embed_batch)?))
    }

    /// One engine with so many threads, for batches up to a size.
    fn engine(
        &self,
        model: &Model,
        item_shape: &[usize],
        (threads, max_batch): (usize, usize),
    ) -> Result<OrtEngine, InferenceError> {
        let options = SessionOptions {
            provider: self.config.provider,
            threads,
            max_batch: max_batch.max(1),
            engine_cache: self.config.engine_cache.clone(),
            ..SessionOptions::default()
        };
        let expected = Expected {
            model: model.manifest.name.clone(),
            item_shape: item_shape.to_vec(),
            outputs: model.manifest.output_names(),
            output_dim: model.manifest.embedder().map(|e| e.dim),
        };
        OrtEngine::load(&self.runtime, &model.onnx, &options, &expected)
    }
}

fn reads(manifest: &Manifest, config: &WorkerConfig) -> Result<Reads, WorkerError> {
    let detector = manifest.detector().ok_or_else(|| unfit(manifest, "it is no detector"))?;
    let head = DetectorHead::from_str(detector.head.as_str()).map_err(|e| unfit(manifest, &e.to_string()))?;
    let params = DetectorParams {
        score_threshold: detector.score_threshold,
        iou_threshold: detector.nms_threshold,
        ..head.default_params()
    };
    let side = config.detector_canvas;
    let canvas = match config.provider {
        Provider::Cpu => Canvas::Fitting { least: config.detector_canvas_least, most: side },
        Provider::Cuda | Provider::TensorRt | Provider::Fake => Canvas::Square(side),
    };
    // What lies around a face in the part that is looked at was measured for this head alone.
    let scouts = config.detector_scouts && head == DetectorHead::Yunet;
    let views = Views { canvas, tiles: config.detect_tiles, scouts };
    Ok(Reads { normalisation: normalisation(&manifest.input), head, params, views })
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
