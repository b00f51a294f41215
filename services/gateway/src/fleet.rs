//! The workers as they announced themselves. Readiness, models and the contract of new collections come from here.
//! A task of the server refreshes the view; a caller who finds no ready worker in it has it refreshed at once.

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use domain::{ContractId, ErrorCode};
use parking_lot::Mutex;
use prometheus::IntGauge;
use queue::{Queue, QueueError};
use tokio::time::{Instant, timeout};
use wire::v1::{ModelInUse, WorkerPresence};

use crate::{
    problem::{ApiProblem, Result},
    system::SystemInfo,
};

/// How often the view is refreshed.
const REFRESH: Duration = Duration::from_millis(500);
/// A caller in need asks the queue itself no sooner after somebody else did.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// A queue that takes longer counts as away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every live worker, by name, at one moment.
pub(crate) type Workers = Arc<[WorkerPresence]>;

/// The workers as last seen.
pub(crate) struct Fleet {
    queue: Queue,
    system: Arc<dyn SystemInfo>,
    ready: IntGauge,
    seen: Mutex<Workers>,
    /// When somebody in need last asked; held while asking, so that many in need ask once.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Fleet {
    /// Nobody seen yet. `ready` counts the workers that take jobs.
    pub fn new(queue: Queue, system: Arc<dyn SystemInfo>, ready: IntGauge) -> Self {
        Self { queue, system, ready, seen: Mutex::default(), asked: tokio::sync::Mutex::default() }
    }

    /// Every live worker as last seen, ready or not.
    pub fn seen(&self) -> Workers {
        self.seen.lock().clone()
    }

    /// Asks the queue now.
    ///
    /// # Errors
    /// The queue's; the view stays as it was.
    pub async fn look(&self) -> Result<Workers, QueueError> {
        let late = || QueueError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
        let workers: Workers = timeout(PATIENCE, self.queue.workers()).await.map_err(|_| late())??.into();
        self.ready.set(i64::try_from(ready(&workers).count()).unwrap_or(i64::MAX));
        *self.seen.lock() = workers.clone();
        Ok(workers)
    }

    /// The live workers, if at least one of them is ready.
    ///
    /// # Errors
    /// `model_not_ready` saying what is waited for; `queue_unavailable`.
    pub async fn able(&self) -> Result<Workers> {
        let seen = self.seen();
        if ready(&seen).next().is_some() {
            return Ok(seen);
        }
        let workers = self.look_again().await?;
        if ready(&workers).next().is_some() {
            return Ok(workers);
        }
        let missing = self.system.waiting_for().unwrap_or_else(|| "no worker is ready".into());
        Err(ApiProblem::new(ErrorCode::ModelNotReady, missing).retry_after(Duration::from_secs(2)))
    }

    async fn look_again(&self) -> Result<Workers, QueueError> {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < AT_MOST_EVERY) {
            return Ok(self.seen());
        }
        let workers = self.look().await;
        *asked = Some(Instant::now());
        workers
    }

    /// The contract a new collection gets: that of the ready workers, and where they differ, during a change of
    /// model, that of the one started last.
    ///
    /// # Errors
    /// As [`Fleet::able`].
    pub async fn contract(&self) -> Result<ContractId> {
        let workers = self.able().await?;
        let newest = newest(&workers).and_then(|w| w.contract.parse().ok());
        newest.ok_or_else(|| ApiProblem::new(ErrorCode::ModelNotReady, "no embedding model is active"))
    }

    /// Keeps the view fresh; runs until it is dropped.
    pub fn follow(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let fleet = self.clone();
        async move {
            let mut ticks = tokio::time::interval(REFRESH);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut away = false;
            loop {
                ticks.tick().await;
                let looked = fleet.look().await;
                // Told when it begins and when it ends, not twice a second.
                match (&looked, away) {
                    (Err(e), false) => tracing::warn!(error = %e, "the workers cannot be asked for at present"),
                    (Ok(_), true) => tracing::info!("the workers can be asked for again"),
                    _ => {}
                }
                away = looked.is_err();
            }
        }
    }
}

/// Those that take jobs.
pub(crate) fn ready(workers: &[WorkerPresence]) -> impl Iterator<Item = &WorkerPresence> {
    workers.iter().filter(|w| w.ready)
}

/// The ready one that started last. The name settles a tie, so that all gateways choose alike.
pub(crate) fn newest(workers: &[WorkerPresence]) -> Option<&WorkerPresence> {
    ready(workers).max_by_key(|w| (w.started_ms, &w.name))
}

/// Model versions of the ready workers, each once.
pub(crate) fn model_versions(workers: &[WorkerPresence]) -> BTreeSet<&str> {
    ready(workers).map(|w| w.model_version.as_str()).filter(|v| !v.is_empty()).collect()
}

/// Models that the ready workers brought along, each once with each provider. Those that tenants registered are nobody
/// else's business.
pub(crate) fn models(workers: &[WorkerPresence]) -> Vec<&ModelInUse> {
    let own = |w: &'_ WorkerPresence, m: &ModelInUse| m.role != "embedder" || m.contract == w.contract;
    let mut models: Vec<&ModelInUse> =
        ready(workers).flat_map(|w| w.models.iter().filter(move |m| own(w, m))).collect();
    models.sort_by_key(|m| (&m.role, &m.name, &m.provider, &m.contract, &m.licence));
    models.dedup();
    models
}

#[cfg(test)]
mod tests {
    use queue::MemoryOptions;

    use super::*;

    struct Process;

    impl SystemInfo for Process {
        fn roles(&self) -> Vec<String> {
            Vec::new()
        }
        fn waiting_for(&self) -> Option<String> {
            None
        }
        fn durability(&self) -> String {
            String::new()
        }
        fn queue_engine(&self) -> String {
            String::new()
        }
    }

    fn contract(n: u8) -> ContractId {
        ContractId::from_bytes([n; 16])
    }

    fn worker(name: &str, n: u8, started_ms: i64, ready: bool) -> WorkerPresence {
        let of = |name: String, n| ModelInUse {
            role: "embedder".into(),
            name,
            contract: contract(n).to_string(),
            ..ModelInUse::default()
        };
        let detector = ModelInUse { role: "detector".into(), name: "d".into(), ..ModelInUse::default() };
        WorkerPresence {
            name: name.into(),
            contract: contract(n).to_string(),
            model_version: format!("v{n}"),
            // A registered model is nobody else's business.
            models: vec![of(format!("m{n}"), n), detector, of("somebody's".into(), n + 100)],
            started_ms,
            ready,
            ..WorkerPresence::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_comes_is_found_at_once_and_many_who_ask_ask_once() {
        let queue = Queue::memory(MemoryOptions::default());
        let fleet = Fleet::new(queue.clone(), Arc::new(Process), IntGauge::new("x", "x").unwrap());
        let refused = fleet.able().await.unwrap_err();
        assert_eq!(refused.problem.code, ErrorCode::ModelNotReady);
        assert!(refused.problem.detail.contains("no worker is ready"));
        let lease = Duration::from_secs(10);
        queue.announce(&worker("a", 1, 1, true), lease).await.unwrap();
        assert!(fleet.able().await.is_err(), "asked a moment ago");
        tokio::time::advance(AT_MOST_EVERY).await;
        assert_eq!(fleet.able().await.unwrap().len(), 1);
        assert_eq!(fleet.contract().await.unwrap(), contract(1));
        tokio::time::advance(lease).await;
        fleet.look().await.unwrap();
        assert!(fleet.able().await.is_err(), "its lease is over");
    }

    #[test]
    fn in_a_mixed_fleet_the_ready_worker_started_last_counts() {
        let workers = [worker("a", 1, 5, true), worker("b", 2, 7, true), worker("c", 3, 9, false)];
        assert_eq!(newest(&workers).unwrap().name, "b");
        assert_eq!(model_versions(&workers), BTreeSet::from(["v1", "v2"]));
        let names: Vec<_> = models(&workers).into_iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["d", "m1", "m2"]);
    }
}
