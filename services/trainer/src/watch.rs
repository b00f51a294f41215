//! Looks on while a model learns: passes the progress on, now and then, to the run's record; keeps checkpoints; tells the
//! learner when to stop. Called on the thread that learns; the record is written beside it.

use std::{sync::Arc, time::Duration};

use domain::{RunFailureCode, RunProgress};
use store::SealedObject;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Halt,
    carrier::Carrier,
    dataset::{Gate, manifest::Manifest},
    learner::Watch,
    metrics::Metrics,
    stop::Stop,
};

/// One run's.
pub struct Watcher {
    pub carrier: Carrier,
    pub stop: Arc<Stop>,
    pub metrics: Metrics,
    pub runtime: Handle,
    /// Who may be learnt from, looked at again with every checkpoint.
    pub gate: Arc<Gate>,
    pub manifest: Arc<Manifest>,
    /// The checkpoint to begin with.
    pub first: Option<SealedObject>,
    /// Told of every step.
    pub latest: watch::Sender<Option<RunProgress>>,
}

impl Watch for Watcher {
    fn step(&self, progress: RunProgress) -> Result<(), Halt> {
        if !progress.loss.is_finite() {
            let detail =
                format!("the loss of step {} is {}: a lower learning rate may help", progress.step, progress.loss);
            return Err(Halt::failed(RunFailureCode::LossNotFinite, detail));
        }
        self.metrics.show(&progress);
        self.latest.send_replace(Some(progress));
        self.stop.check()
    }

    fn check(&self) -> Result<(), Halt> {
        self.stop.check()
    }

    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Halt> {
        let Some(object) = &self.first else { return Ok(None) };
        self.runtime.block_on(self.carrier.vault.open(object))
    }

    fn keep(&self, checkpoint: &[u8]) -> Result<(), Halt> {
        self.runtime.block_on(async {
            // Before anything more of somebody who has left is kept.
            self.gate.still_allowed(&self.manifest).await?;
            let object = self.carrier.vault.put("checkpoint", checkpoint).await?;
            let former = std::sync::Mutex::new(None);
            let written = self.carrier.write(&[], |run| {
                let before = run.checkpoint.replace(object.clone());
                if let Ok(mut former) = former.lock() {
                    *former = before;
                }
                run.fruitless = 0;
            });
            if let Err(halt) = written.await {
                // Nobody knows of it, or nobody will.
                drop(self.carrier.vault.delete(&object).await);
                return Err(halt);
            }
            if let Some(former) = former.into_inner().unwrap_or_default() {
                self.carrier.vault.delete(&former).await?;
            }
            Ok(())
        })
    }
}

/// Writes the progress into the record whenever there is news, at most once in `every`; until the learner is done. What
/// cannot be written now is written with the next.
pub async fn report(
    carrier: Carrier,
    mut latest: watch::Receiver<Option<RunProgress>>,
    stop: Arc<Stop>,
    every: Duration,
) {
    while latest.changed().await.is_ok() {
        let progress = *latest.borrow_and_update();
        match carrier.write(&[], |run| run.progress = progress).await {
            Ok(_) => {}
            Err(Halt::NotOurs) => {
                stop.not_ours();
                return;
            }
            Err(error) => tracing::debug!(run = %carrier.id, %error, "the progress of a run was not written"),
        }
        tokio::time::sleep(every).await;
    }
}
