//! The inference role: consumes jobs, runs the pipeline (decode → detect → align → embed → search → respond) and
//! answers. Knows the queue and tensors, no public HTTP. The binary calls [`Worker::start`] and [`Worker::run`].

mod batcher;
mod choose;
mod config;
mod consume;
mod cpu;
mod drain;
mod jobs;
mod load;
mod metrics;
mod pipeline;
mod stages;
mod timings;

use std::sync::Arc;

use domain::{CalibrationTable, ContractId, Lane};
use gallery::Galleries;
use queue::{ConsumerOptions, Queue, Timing};
use store::{Pepper, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::WorkerConfig;
pub use load::{WorkerError, pipeline as load_pipeline};
pub use metrics::Metrics;
pub use pipeline::{AnalysedFace, Analysis, Context, Found, Pipeline};
pub use stages::align::AlignedFace;
pub use timings::{Stage, Timings};

use crate::{jobs::Desk, stages::respond};

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
        let model_version = format!("{}+{}", deps.models.detector.manifest.name, deps.models.embedder.manifest.name);
        let pepper = Pepper::load(&*deps.store).await?;
        let pipeline = load::pipeline(&config, deps.models, deps.runtime, Some(&metrics)).await?;
        let desk = Desk {
            config,
            pipeline,
            calibration,
            model_version,
            store: deps.store,
            pepper,
            galleries: deps.galleries,
            metrics,
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

    /// Works until `shutdown`, then drains. Gives the number of jobs that the grace period left unfinished; they stay
    /// on their lane.
    ///
    /// # Errors
    /// [`WorkerError`] for consumer options that could lose jobs.
    pub async fn run(self, shutdown: CancellationToken) -> Result<usize, WorkerError> {
        let running = TaskTracker::new();
        let consumers = TaskTracker::new();
        for (lane, slots) in
            [(Lane::Interactive, self.desk.config.interactive_jobs), (Lane::Bulk, self.desk.config.bulk_jobs)]
        {
            let timing = Timing { batch_delay: self.desk.config.batch_delay, ..Timing::default() };
            let rejected = Arc::new(respond::KeepRejected(Arc::clone(&self.desk)));
            let options = ConsumerOptions::new(timing)?.host(&*self.desk.config.host).on_rejected(rejected);
            let consumer = self.queue.consumer(lane, options);
            let desk = Arc::clone(&self.desk);
            consumers.spawn(consume::consume(desk, consumer, slots, running.clone(), shutdown.clone()));
        }
        consumers.close();
        consumers.wait().await;
        Ok(drain::drain(&running, self.desk.config.drain_grace).await)
    }
}
