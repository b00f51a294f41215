//! Loading: manifests and verified model files to warm sessions and a pipeline. Called by [`crate::Worker::start`]
//! and by tools that need the pipeline without a queue.

use std::{str::FromStr, sync::Arc};

use domain::ErrorCode;
use inference::{
    Engine, EnginePool, Expected, InferenceError, OnnxRuntime, OrtEngine, Provider, SessionHandle, SessionOptions,
    buckets_up_to,
};
use models::{Input, Manifest, Model, ModelError, ModelSet, Target};
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
    Ok(parts(config, models, runtime, metrics).await?.0)
}

/// The same with what makes embedders of other models beside it.
///
/// # Errors
/// [`WorkerError`].
pub(crate) async fn parts(
    config: &WorkerConfig,
    models: ModelSet,
    runtime: OnnxRuntime,
    metrics: Option<&Metrics>,
) -> Result<(Pipeline, Maker), WorkerError> {
    let observer = metrics.map(|m| Arc::new(m.clone()) as Arc<dyn Observer>);
    let on_cores = config.provider == Provider::Cpu;
    let loader = Arc::new(Loader { config: config.clone(), runtime });
    let loading = Loading { loader: Arc::clone(&loader), models };
    let reads = reads(&loading.models.detector.manifest, config)?;
    let alignment = alignment(&loading.models.embedder.manifest)?;
    let normalisation = normalisation(&loading.models.embedder.manifest.input);
    let contract = loading.models.contract();
    let decoder = Decoder::new(config.limits, config.max_pixels_in_flight);
    #[cfg(debug_assertions)]
    let decoder = decoder.crash_on(config.crash_on.as_deref());
    let side = alignment.side();
    let (detector, embedder, cpu, layout) = if on_cores {
        let (layout, detecting, embedding) = blocking(move || loading.pools(side as usize)).await?;
        // As many pictures in work as there are engines: one more would only take the others' cores.
        let cpu = CpuPool::new(if config.cpu_threads == 0 { layout.engines } else { config.cpu_threads })?;
        let detector = Detector::on_cores(detecting, reads, observer.clone(), cpu.clone());
        let embedder = Embedder::on_cores(embedding, normalisation, contract, observer.clone(), cpu.clone());
        (detector, embedder, cpu, Some(layout))
    } else {
        let (detecting, embedding) = blocking(move || loading.sessions(side as usize)).await?;
        let cpu = CpuPool::new(config.cpu_threads())?;
        let (detects, embeds) = (loader.batching(&detecting, &observer), loader.batching(&embedding, &observer));
        let detector = Detector::batched(detecting, reads, config.detector_canvas, detects, cpu.clone());
        (detector, Embedder::batched(embedding, normalisation, contract, side, embeds), cpu, None)
    };
    let maker = Maker { loader, layout, alignment, cpu: cpu.clone(), observer };
    Ok((Pipeline { decoder, detector, embedder, alignment, cpu }, maker))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkerError> + Send + 'static,
) -> Result<T, WorkerError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| WorkerError::Interrupted)?
}

/// Makes engines.
struct Loader {
    config: WorkerConfig,
    runtime: OnnxRuntime,
}

/// What engines are made of.
struct Loading {
    loader: Arc<Loader>,
    models: ModelSet,
}

/// Makes embedders of further models, to run where the first one does: in the layout that was measured for that, on the
/// same threads.
pub(crate) struct Maker {
    loader: Arc<Loader>,
    /// On processors.
    layout: Option<Layout>,
    alignment: Alignment,
    cpu: CpuPool,
    observer: Option<Arc<dyn Observer>>,
}

impl Maker {
    /// Where a graph of this process runs.
    pub fn target(&self) -> Target {
        if self.layout.is_some() { Target::Cpu } else { Target::Gpu }
    }

    /// A warm embedder. Faces are cut out once for all models, so the alignment must be the first one's.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub async fn embedder(&self, model: Model) -> Result<Embedder, WorkerError> {
        let manifest = model.manifest.clone();
        let contract = manifest.contract().ok_or_else(|| unfit(&manifest, "it is no embedder"))?;
        if alignment(&manifest)? != self.alignment {
            return Err(unfit(&manifest, "its faces are aligned in another way than this deployment's"));
        }
        let (normalisation, side) = (normalisation(&manifest.input), self.alignment.side());
        let (loader, shape) = (Arc::clone(&self.loader), [3, side as usize, side as usize]);
        match self.layout {
            Some(layout) => {
                let pool = move || {
                    let engines = layout.load(&|threads| loader.engine(&model, &shape, (threads, 1)))?;
                    pool(&model, engines, &[1, shape[0], shape[1], shape[2]])
                };
                let (engines, observer) = (blocking(pool).await?, self.observer.clone());
                Ok(Embedder::on_cores(engines, normalisation, contract, observer, self.cpu.clone()))
            }
            None => {
                let (making, batch) = (Arc::clone(&self.loader), self.loader.config.embed_batch);
                let session = blocking(move || making.session(&model, shape, batch)).await?;
                let batching = self.loader.batching(&session, &self.observer);
                Ok(Embedder::batched(session, normalisation, contract, side, batching))
            }
        }
    }
}

fn pool(model: &Model, engines: Vec<OrtEngine>, shape: &[usize]) -> Result<EnginePool, WorkerError> {
    let engines = engines.into_iter().map(|e| Box::new(e) as Box<dyn Engine>).collect();
    let pool = EnginePool::new(&model.manifest.name, engines).ok_or(WorkerError::Interrupted)?;
    pool.warm_up(shape)?;
    Ok(pool)
}

impl Loading {
    /// Engines of both models for processors, warm, in the configured layout or the one that is measured to be best.
    fn pools(&self, side: usize) -> Result<(Layout, EnginePool, EnginePool), WorkerError> {
        let (config, loader) = (&self.loader.config, &self.loader);
        let canvas = config.detector_canvas as usize;
        let (crop, picture) = ([1, 3, side, side], [1, 3, canvas, canvas]);
        let embedder = |threads| loader.engine(&self.models.embedder, &crop[1..], (threads, 1));
        let cores = cores();
        let (layout, embedders) = match config.session_threads {
            0 => Layout::measured(cores, &crop, embedder)?,
            threads => {
                let layout = Layout::with_threads(threads, cores);
                (layout, layout.load(&embedder)?)
            }
        };
        tracing::info!(engines = layout.engines, threads = layout.threads, "runs of a model, and threads of each");
        let detectors = layout.load(&|threads| loader.engine(&self.models.detector, &picture[1..], (threads, 1)))?;
        let detecting = pool(&self.models.detector, detectors, &picture)?;
        Ok((layout, detecting, pool(&self.models.embedder, embedders, &crop)?))
    }

    /// A warm session of each model, for a GPU.
    fn sessions(&self, side: usize) -> Result<(SessionHandle, SessionHandle), WorkerError> {
        let config = &self.loader.config;
        let canvas = config.detector_canvas as usize;
        let detector = self.loader.session(&self.models.detector, [3, canvas, canvas], config.detect_batch)?;
        Ok((detector, self.loader.session(&self.models.embedder, [3, side, side], config.embed_batch)?))
    }
}

impl Loader {
    /// A warm session, for a GPU.
    fn session(&self, model: &Model, item: [usize; 3], batch: usize) -> Result<SessionHandle, WorkerError> {
        let engine = self.engine(model, &item, (self.config.session_threads(), batch))?;
        let session = SessionHandle::spawn(&model.manifest.name, engine)?;
        session.warm_up(&item)?;
        Ok(session)
    }

    /// How a session's batches are made.
    fn batching(&self, session: &SessionHandle, observer: &Option<Arc<dyn Observer>>) -> Batching {
        Batching {
            policy: Policy::new(session.max_batch(), self.config.batch_delay, buckets_up_to(session.max_batch())),
            observer: observer.clone(),
        }
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
