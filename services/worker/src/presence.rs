//! Presence: what this worker says of itself to the others while it lives, and what it is asked at its inbox. A worker
//! that cannot renew its lease counts as gone for everybody else, so it lets go of every template it holds: an erasure
//! is acknowledged without it from then on. Called by [`crate::Worker::run`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{ErrorCode, Problem, Timestamp};
use futures::FutureExt;
use queue::{Inbox, Queue, QueueError};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wire::v1::{Envelope, ModelInUse, WorkerPresence, envelope::Request};

use crate::{
    config::WorkerConfig,
    jobs::{self, Desk},
    pipeline::Context,
    stages::respond,
    timings::Timings,
};

/// Renewals within one lease: two may fail before the others give this worker up.
const RENEWALS: u32 = 4;

/// Pause after the inbox could not be read.
const BACKOFF: Duration = Duration::from_millis(250);

/// Whether this worker has lost touch and must not hold or search any gallery.
#[derive(Debug, Default)]
pub struct Fence(AtomicBool);

impl Fence {
    /// Refuses work on galleries while the lease is lost.
    ///
    /// # Errors
    /// `queue_unavailable`.
    pub fn check(&self) -> Result<(), Problem> {
        if self.0.load(Ordering::Acquire) {
            let detail = "this worker has lost touch with the others and holds no gallery until it is back";
            return Err(Problem::new(ErrorCode::QueueUnavailable, detail));
        }
        Ok(())
    }
}

/// This worker's place among the others.
pub struct Presence {
    lease: Lease,
    inbox: Inbox,
}

/// What is renewed.
struct Lease {
    desk: Arc<Desk>,
    queue: Queue,
    word: WorkerPresence,
    length: Duration,
}

/// What a worker says of a model.
pub fn of_model(config: &WorkerConfig, role: &str, manifest: &models::Manifest) -> ModelInUse {
    ModelInUse {
        role: role.to_owned(),
        name: manifest.name.clone(),
        licence: manifest.licence.clone(),
        provider: config.provider.as_str().to_owned(),
        contract: manifest.contract().map(|c| c.to_string()).unwrap_or_default(),
    }
}

/// What a worker says of itself at its start: everything but its inbox.
pub fn word(config: &WorkerConfig, models: &models::ModelSet, model_version: &str) -> WorkerPresence {
    let model = |role: &str, manifest: &models::Manifest| of_model(config, role, manifest);
    WorkerPresence {
        name: format!("{}-{}", config.host, domain::JobId::generate()),
        inbox: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model_version: model_version.to_owned(),
        contract: models.contract().to_string(),
        models: vec![model("detector", &models.detector.manifest), model("embedder", &models.embedder.manifest)],
        started_ms: Timestamp::now().as_millis(),
        ready: false,
    }
}

impl Presence {
    /// Opens the inbox and joins the others, not ready yet: from here on erasures wait for this worker's word. Tries
    /// until the queue is there or `shutdown`.
    pub async fn join(desk: Arc<Desk>, queue: Queue, shutdown: &CancellationToken) -> Option<Self> {
        loop {
            match Self::try_join(&desk, &queue).await {
                Ok(presence) => return Some(presence),
                Err(error) => tracing::warn!(%error, "this worker cannot join the others yet; trying again"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(BACKOFF) => {}
            }
        }
    }

    async fn try_join(desk: &Arc<Desk>, queue: &Queue) -> Result<Self, QueueError> {
        let inbox = queue.open_inbox().await?;
        let word = WorkerPresence { inbox: inbox.address().to_owned(), ..desk.word.clone() };
        let lease = desk.config.lease;
        queue.announce(&word, lease).await?;
        Ok(Self { lease: Lease { desk: Arc::clone(desk), queue: queue.clone(), word, length: lease }, inbox })
    }

    /// Says that jobs are taken, which `told` learns, then renews the lease and answers the inbox until `stop`; says
    /// goodbye then.
    pub async fn keep(self, told: oneshot::Sender<()>, stop: CancellationToken) {
        let Self { mut lease, mut inbox } = self;
        lease.word.ready = true;
        let answering = TaskTracker::new();
        let mut renew = tokio::time::interval(lease.length / RENEWALS);
        renew.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut told = Some(told);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = renew.tick() => {
                    let last = renewed;
                    renewed = lease.renew(last).await;
                    if renewed > last && let Some(told) = told.take() {
                        // Whoever started this worker may not care.
                        let _ = told.send(());
                    }
                }
                // The others wait for this worker to have a model.
                () = lease.desk.shelf.changed.notified() => renewed = lease.renew(renewed).await,
                asked = inbox.next() => match asked {
                    Ok(envelope) => {
                        let (desk, queue) = (Arc::clone(&lease.desk), lease.queue.clone());
                        answering.spawn(async move { answer(&desk, &queue, envelope).await });
                    }
                    Err(error) => tracing::debug!(%error, "the inbox cannot be read"),
                },
            }
        }
        answering.close();
        // Whoever waits for an answer gets it, or sees this worker gone a moment later.
        let _ = tokio::time::timeout(lease.length, answering.wait()).await;
        if let Err(error) = lease.queue.withdraw(&lease.word.name).await {
            tracing::debug!(%error, "the lease runs out by itself");
        }
    }
}

impl Lease {
    /// One renewal; gives the moment from which the lease counts. Measured before the call, so that this worker gives
    /// up before the others give it up.
    async fn renew(&self, last: Instant) -> Instant {
        let (now, step) = (Instant::now(), self.length / RENEWALS);
        let left = self.length.saturating_sub(last.elapsed() + step).max(step);
        let mut word = self.word.clone();
        word.models.extend(self.desk.shelf.loaded().iter().map(|served| served.word.clone()));
        let announced = tokio::time::timeout(left, self.queue.announce(&word, self.length)).await;
        match announced {
            Ok(Ok(())) => {
                self.back().await;
                return now;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
            Err(_) => tracing::warn!("the lease could not be renewed in time"),
        }
        let fence = &self.desk.fence.0;
        if last.elapsed() + step >= self.length && !fence.swap(true, Ordering::AcqRel) {
            tracing::warn!("the lease is lost: letting go of every gallery until the others are in reach again");
            self.desk.metrics.fenced.inc();
            self.desk.galleries.let_go_all().await;
        }
        last
    }

    /// In touch again: first the snapshots learn what was erased meanwhile, then galleries may be read.
    async fn back(&self) {
        let fence = &self.desk.fence.0;
        if !fence.load(Ordering::Acquire) {
            return;
        }
        match self.desk.galleries.sweep_snapshots().await {
            Ok(()) => {
                fence.store(false, Ordering::Release);
                tracing::info!("in touch with the others again");
            }
            Err(error) => tracing::warn!(%error, "snapshots could not be brought up to date yet"),
        }
    }
}

/// What came to the inbox: only what is about galleries and models, everything else travels on a lane.
async fn answer(desk: &Desk, queue: &Queue, mut envelope: Envelope) {
    let timings = Arc::new(Timings::new(desk.metrics.stage_seconds.clone()));
    let left = Timestamp::from_millis(envelope.deadline_ms).since(Timestamp::now());
    let context = Context { deadline: Instant::now() + left, timings: Arc::clone(&timings) };
    let outcome = if matches!(envelope.request, Some(Request::CatchUp(_) | Request::Prepare(_))) {
        let work = std::panic::AssertUnwindSafe(jobs::carry_out(desk, &mut envelope, &context)).catch_unwind();
        work.await.unwrap_or_else(|_| Err(Problem::new(ErrorCode::Internal, "the worker failed unexpectedly")))
    } else {
        Err(Problem::invalid("request", "an inbox takes only what is about galleries and models"))
    };
    let reply = respond::reply(desk, &desk.word.name, &envelope.job_id, outcome, &timings);
    if let Err(error) = queue.answer(&envelope, &reply).await {
        tracing::warn!(%error, "an answer from the inbox could not be sent; its asker will ask again");
    }
}
