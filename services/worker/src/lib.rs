//! The inference role: consumes jobs, runs the pipeline (decode → detect → align → embed → search → respond) and
//! answers. Knows the queue and tensors, no public HTTP. The binary calls [`Worker::start`] and [`Worker::run`].

mod batcher;
mod choose;
mod config;
mod consume;
mod cpu;
mod drain;
mod jobs;
mod layout;
mod load;
mod metrics;
mod pipeline;
mod presence;
mod seen;
mod shelf;
mod stages;
mod timings;
mod training;

use std::sync::Arc;

use crops::Crops;
use domain::{CalibrationTable, ContractId, Lane};
use gallery::Galleries;
use queue::{ConsumerOptions, Queue, Timing};
use store::{Pepper, Store};
use tokio::{sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use config::{GateConfig, WorkerConfig};
pub use load::{WorkerError, pipeline as load_pipeline};
pub use metrics::Metrics;
pub use pipeline::{AnalysedFace, Analysis, Context, Found, Pipeline};
pub use stages::align::AlignedFace;
pub use timings::{Stage, Timings};

use crate::{
    drain::Running,
    jobs::Desk,
    presence::{Fence, Presence},
    stages::respond,
};

/// What a worker works with.
pub struct WorkerDeps {
    /// Records and change feed.
    pub store: Arc<dyn Store>,
    /// Lanes and replies.
    pub queue: Queue,
    /// Detector and embedder, verified and rewritten for serving.
    pub models: models::ModelSet,
    /// The ONNX Runtime library, loaded.
    pub runtime: inference::OnnxRuntime,
    /// Collections in memory.
    pub galleries: Arc<Galleries>,
    /// Where crops are kept; none where this process keeps no objects.
    pub crops: Option<Crops>,
    /// Registered models; none where this process keeps no objects.
    pub model_registry: Option<registry::Registry>,
    /// Where metrics are registered.
    pub registry: prometheus::Registry,
}

/// A worker whose models are loaded and warm.
pub struct Worker {
    desk: Arc<Desk>,
    queue: Queue,
}

impl Worker {
    /// Loads both models and runs every batch size once, so that no request pays for a first run. Blocking work is
    /// done on blocking threads; takes a second or two on a CPU.
    ///
    /// # Errors
    /// [`WorkerError`] for models that do not load or metrics registered twice.
    pub async fn start(config: WorkerConfig, deps: WorkerDeps) -> Result<Self, WorkerError> {
        let metrics = Metrics::register(&deps.registry)?;
        let calibration = deps.models.calibration()?.clone();
        let detector = deps.models.detector.manifest.name.clone();
        let model_version = format!("{detector}+{}", deps.models.embedder.manifest.name);
        let word = presence::word(&config, &deps.models, &model_version);
        let embedder = presence::of_model(&config, "embedder", &deps.models.embedder.manifest);
        let pepper = Pepper::load(&*deps.store).await?;
        let (pipeline, maker) = load::parts(&config, deps.models, deps.runtime, Some(&metrics)).await?;
        let own = shelf::Served {
            pipeline: pipeline.clone(),
            calibration: Some(calibration.clone()),
            version: model_version.as_str().into(),
            word: embedder,
        };
        let shelf = Arc::new(shelf::Shelf::new(own, detector, maker, deps.model_registry, metrics.clone()));
        let desk = Desk {
            config,
            pipeline,
            calibration,
            model_version,
            shelf,
            queue: deps.queue.clone(),
            store: deps.store,
            pepper,
            galleries: deps.galleries,
            crops: deps.crops,
            metrics,
            word,
            fence: Fence::default(),
            turn: tokio::sync::RwLock::default(),
            precedence: jobs::Precedence::default(),
            seen: seen::Seen::default(),
            due: training::Due::default(),
        };
        Ok(Self { desk: Arc::new(desk), queue: deps.queue })
    }

    /// The contract of the templates it makes.
    #[must_use]
    pub fn contract(&self) -> ContractId {
        self.desk.pipeline.contract()
    }

    /// The calibration it resolves thresholds with.
    #[must_use]
    pub fn calibration(&self) -> &CalibrationTable {
        &self.desk.calibration
    }

    /// The stages themselves.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.desk.pipeline
    }

    /// Works until `shutdown`, then drains; `ready` learns when the others know that this worker takes jobs. Gives the number of jobs that the grace period left unfinished; they stay
    /// on their lane.
    ///
    /// Before the first job this worker joins the others and brings its snapshots up to date, in that order: an erasure
    /// either waits for this worker or was there to be seen by it. After the last it saves its galleries and leaves.
    ///
    /// # Errors
    /// [`WorkerError`] for consumer options that could lose jobs.
    pub async fn run(self, ready: oneshot::Sender<()>, shutdown: CancellationToken) -> Result<usize, WorkerError> {
        let Self { desk, queue } = self;
        let options = options(&desk)?;
        let Some(presence) = Presence::join(Arc::clone(&desk), queue.clone(), &shutdown).await else { return Ok(0) };
        if let Err(error) = desk.galleries.sweep_snapshots().await {
            tracing::warn!(%error, "snapshots could not be brought up to date; each is looked at again when it is read");
        }
        let stay = CancellationToken::new();
        let _gone = stay.clone().drop_guard();
        let present = tokio::spawn(presence.keep(ready, stay.clone()));
        let noting = stay.child_token();
        let notes = tokio::spawn({
            let (desk, stop) = (Arc::clone(&desk), noting.clone());
            async move { seen::Seen::keep(&desk, stop).await }
        });

        let policies = tokio::spawn(training::keep(Arc::clone(&desk), queue.clone(), stay.child_token()));
        let (running, mut consumers) = (Running::default(), JoinSet::new());
        for (lane, slots) in [(Lane::Interactive, desk.config.interactive_jobs), (Lane::Bulk, desk.config.bulk_jobs)] {
            let consumer = queue.consumer(lane, options.clone());
            consumers.spawn(consume::consume(Arc::clone(&desk), consumer, slots, running.clone(), shutdown.clone()));
        }
        let consumers = consumers.join_all().await;
        let left = running.drain(desk.config.drain_grace).await;
        drain::leave(consumers).await;
        noting.cancel();
        if notes.await.is_err() {
            tracing::warn!("who was seen was not noted to the end");
        }
        if let Err(error) = desk.galleries.save_all().await {
            tracing::warn!(%error, "gallery snapshots could not be saved; the next start reads the store instead");
        }
        stay.cancel();
        if policies.await.is_err() {
            tracing::warn!("whether training runs are due was not looked at to the end");
        }
        if present.await.is_err() {
            tracing::warn!("the lease was not kept to the end");
        }
        Ok(left)
    }
}

fn options(desk: &Arc<Desk>) -> Result<ConsumerOptions, WorkerError> {
    let (config, timing) = (&desk.config, Timing::default());
    let timing = Timing { batch_delay: config.batch_delay, min_idle: config.min_idle, ..timing };
    let rejected = Arc::new(respond::KeepRejected(Arc::clone(desk)));
    let options = ConsumerOptions::new(timing)?.member(&*desk.word.name, config.lease);
    Ok(options.max_deliveries(consume::MAX_DELIVERIES).on_rejected(rejected))
}
