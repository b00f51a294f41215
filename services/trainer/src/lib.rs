//! The training role: takes training runs off their lane and carries each out, from the crops whose subjects agree to it
//! to a candidate in the registry. Knows the queue, the store and tensors, no HTTP. The binary calls [`run`].

mod base;
mod candidates;
mod carrier;
mod config;
mod consume;
mod dataset;
mod desk;
mod engine;
mod error;
mod evaluate;
mod learner;
mod metrics;
mod parity;
mod quiet;
mod report;
mod run;
mod scratch;
mod serve;
mod stop;
mod tables;
mod vault;
mod watch;

use std::{sync::Arc, time::Duration};

use crops::Crops;
use domain::Lane;
use inference::OnnxRuntime;
use objects::Objects;
use queue::{ConsumerOptions, Queue, Timing};
use store::Store;
use tokio_util::sync::CancellationToken;

pub use base::{Base, Models};
pub use candidates::{Candidate, Registry};
pub use config::TrainerConfig;
pub use dataset::{Dataset, Parts, manifest};
pub use engine::Engine;
pub use error::{Halt, TrainerError};
pub use learner::{Learner, Learnt, Task, Watch};
pub use metrics::Metrics;
pub use scratch::Scratch;

use crate::{
    consume::{Rejected, consume},
    desk::Desk,
};

/// What a trainer works with.
pub struct TrainerDeps {
    /// Records.
    pub store: Arc<dyn Store>,
    /// Lanes.
    pub queue: Queue,
    /// Where checkpoints and models lie.
    pub objects: Objects,
    /// Where crops lie.
    pub crops: Crops,
    /// Models to begin with.
    pub models: Models,
    /// The ONNX Runtime library, loaded.
    pub runtime: OnnxRuntime,
    /// Makes models learn.
    pub learner: Arc<dyn Learner>,
    /// Takes candidates.
    pub registry: Arc<dyn Registry>,
    /// Where metrics are registered.
    pub metrics: prometheus::Registry,
}

/// Works until `shutdown`; a run under way is left to another trainer then, with what it has come to.
///
/// # Errors
/// [`TrainerError`] for settings under which runs could be lost or done twice.
pub async fn run(config: TrainerConfig, deps: TrainerDeps, shutdown: CancellationToken) -> Result<(), TrainerError> {
    let TrainerDeps { store, queue, objects, crops, models, runtime, learner, registry, metrics } = deps;
    let metrics = Metrics::register(&metrics)?;
    let options = options(&config)?;
    let desk = Arc::new(Desk { config, store, objects, crops, models, runtime, learner, registry, metrics });
    let options = options.on_rejected(Arc::new(Rejected(Arc::clone(&desk))));
    let consumer = queue.consumer(Lane::Train, options);
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(desk.config.grace).await;
    };
    tokio::select! {
        () = consume(&desk, &consumer, &shutdown) => {}
        () = late => tracing::warn!("a training run did not come to a stop in time; its last checkpoint counts"),
    }
    if let Err(error) = consumer.leave().await {
        tracing::debug!(%error, "the trainer's name stays on the lane for now");
    }
    Ok(())
}

fn options(config: &TrainerConfig) -> Result<ConsumerOptions, TrainerError> {
    // A trainer speaks up several times within that silence.
    let timing = Timing {
        min_idle: config.min_idle,
        batch_delay: Duration::ZERO,
        batch_time: config.min_idle / 2,
        reply_time: config.min_idle / 4,
    };
    // Counted in the record: what got any further is not given up, however often its trainers died.
    let options = ConsumerOptions::new(timing)?.host(&config.host).max_deliveries(u32::MAX);
    Ok(options.reclaim_every(config.min_idle / 2))
}
