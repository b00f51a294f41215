//! What each kind of job does. A job's handler gets the request and a [`Desk`] and gives the outcome of the reply;
//! everything around it (queue, deadline on arrival, reply, acknowledgement) is the consumer's.

pub mod bulk;
mod catch_up;
mod compare;
mod crops;
mod detect;
mod embed;
mod enrol;
mod gate;
mod general;
mod held_out;
mod identify;
mod prepare;
pub mod promotion;
mod resolved;
mod templates;
mod verify;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ::crops::Crops;
use domain::{
    CalibrationTable, Collection, CollectionId, ErrorCode, Problem, Purpose, SubjectId, TenantId, ThresholdSpec,
    Timestamp,
};
use gallery::Galleries;
use queue::Queue;
use store::{Collections, Jobs, Mention, Mentions, Pepper, RepoError, Store, Subjects};
use tokio::sync::{Semaphore, SemaphorePermit};
use wire::v1::{self, Envelope, envelope::Request, reply::Outcome};

use crate::{
    config::WorkerConfig, metrics::Metrics, pipeline::Context, pipeline::Pipeline, presence::Fence, seen::Seen,
    shelf::Shelf, training::Due,
};

/// Everything a job may need; shared by all jobs of a worker.
pub struct Desk {
    pub(crate) config: WorkerConfig,
    pub(crate) pipeline: Pipeline,
    pub(crate) calibration: CalibrationTable,
    pub(crate) model_version: String,
    /// Every model of this worker; the three above are of the deployment's own.
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) queue: Queue,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) pepper: Pepper,
    pub(crate) galleries: Arc<Galleries>,
    /// Where crops are kept, if anywhere.
    pub(crate) crops: Option<Crops>,
    pub(crate) metrics: Metrics,
    /// What this worker says of itself; without its inbox.
    pub(crate) word: v1::WorkerPresence,
    pub(crate) fence: Fence,
    /// Read by jobs that run beside each other, written by one that must run alone.
    pub(crate) turn: tokio::sync::RwLock<()>,
    /// Who goes first, those who are waited for or the items of bulk jobs.
    pub(crate) precedence: Precedence,
    /// Who was seen and is not noted in the store yet.
    pub(crate) seen: Seen,
    /// Collections that may be due for a training run.
    pub(crate) due: Due,
}

/// Jobs that are waited for go before the items of bulk jobs: beside any of those, items are worked on one at a time.
#[derive(Debug)]
pub struct Precedence {
    awaited: AtomicUsize,
    item: Semaphore,
}

impl Default for Precedence {
    fn default() -> Self {
        Self { awaited: AtomicUsize::new(0), item: Semaphore::new(1) }
    }
}

impl Precedence {
    /// A job that somebody waits for is worked on until this is dropped.
    pub(crate) fn awaited(&self) -> Awaited<'_> {
        self.awaited.fetch_add(1, Ordering::Relaxed);
        Awaited(self)
    }

    /// An item's turn.
    pub(crate) async fn item(&self) -> Option<SemaphorePermit<'_>> {
        if self.awaited.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.item.acquire().await.ok()
    }
}

/// See [`Precedence::awaited`].
pub(crate) struct Awaited<'a>(&'a Precedence);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What came of a job, and of which models.
pub struct Done {
    pub outcome: Outcome,
    pub model_version: Arc<str>,
}

/// Carries out a job.
///
/// # Errors
/// The problem the caller is told.
pub async fn carry_out(desk: &Desk, envelope: &mut Envelope, context: &Context) -> Result<Done, Problem> {
    let own = |outcome| Done { outcome, model_version: Arc::clone(&desk.shelf.own().version) };
    let tenant = TenantId::new(&envelope.tenant).map_err(|e| Problem::invalid("tenant", e.to_string()))?;
    let job = envelope.job_id.clone();
    let accepted_at = envelope.keep_result.then(|| Timestamp::from_millis(envelope.created_ms));
    match envelope.request.take() {
        Some(Request::Detect(r)) => detect::run(desk, r, context).await.map(Outcome::Detect).map(own),
        Some(Request::Compare(r)) => compare::run(desk, r, context).await.map(Outcome::Compare).map(own),
        Some(Request::Embed(r)) => embed::run(desk, r, context).await.map(Outcome::Embed).map(own),
        Some(Request::Enrol(r)) => {
            let asked = enrol::Asked { job: &job, accepted_at };
            enrol::run(desk, &tenant, asked, r, context).await
        }
        Some(Request::Identify(r)) => identify::run(desk, &tenant, r, context).await,
        Some(Request::Verify(r)) => verify::run(desk, &tenant, r, context).await,
        Some(Request::CatchUp(r)) => catch_up::run(desk, &tenant, &r, context).await.map(Outcome::CatchUp).map(own),
        Some(Request::Gate(r)) => gate::run(desk, &tenant, (&job, &r), context).await,
        Some(Request::Prepare(r)) => prepare::run(desk, &tenant, &r).await.map(Outcome::Prepare).map(own),
        // The consumer sees to strands, of bulk jobs and of promotions, and to kinds it does not know: they are requeued,
        // not answered. Runs have a lane of their own, which no worker reads.
        Some(Request::Bulk(_) | Request::Promotion(_) | Request::Train(_)) | None => {
            Err(Problem::invalid("request", "this worker does not know the kind of job; upgrade it"))
        }
    }
}

impl Desk {
    /// Repository of a tenant's collections.
    pub(crate) fn collections(&self) -> Collections {
        Collections::new(Arc::clone(&self.store))
    }

    /// Repository of a tenant's jobs.
    pub(crate) fn jobs(&self, tenant: &TenantId) -> Jobs {
        Jobs::new(Arc::clone(&self.store), tenant)
    }

    /// Repository of a collection's subjects.
    pub(crate) fn subjects(&self, tenant: &TenantId, collection: &CollectionId) -> Subjects {
        Subjects::new(Arc::clone(&self.store), self.pepper, tenant.clone(), collection.clone())
    }

    /// Whom a result tells of: the subject its request named, and those in the reply.
    pub(crate) fn mentions(
        &self,
        tenant: &TenantId,
        about: &Option<(CollectionId, Option<SubjectId>)>,
        reply: &v1::Reply,
    ) -> Vec<Mention> {
        let Some((collection, subject)) = about else { return Vec::new() };
        let mention = |id: &SubjectId| Mention {
            collection: collection.clone(),
            handle: self.pepper.handle(tenant, collection, id),
        };
        subject.iter().chain(&wire::told_by(reply)).map(mention).collect()
    }

    /// After results were kept: those of subjects erased meanwhile are cleared again.
    pub(crate) async fn settle(&self, tenant: &TenantId, mentions: &[Mention]) {
        let settled = Mentions::new(Arc::clone(&self.store), tenant).settle(mentions, Timestamp::now()).await;
        if let Err(error) = settled {
            tracing::warn!(%error, "whether a kept result tells of an erased subject is not known; it expires");
        }
    }

    /// A threshold in its three forms, with a default, for so many comparisons of the deployment's own model.
    pub(crate) fn threshold(
        &self,
        asked: Option<v1::ThresholdSpec>,
        default: ThresholdSpec,
        comparisons: u64,
    ) -> Result<domain::ResolvedThreshold, Problem> {
        let spec = asked.and_then(Option::<ThresholdSpec>::from).unwrap_or(default);
        self.calibration.resolve(spec, comparisons)
    }
}

/// What a recognition is for: the purpose named, if it is one of the collection's, or the collection's only one. The
/// gateway has seen to that already; a policy may have changed since.
pub(crate) fn purpose(collection: &Collection, named: &str) -> Result<Purpose, Problem> {
    let found = match &collection.purposes[..] {
        [only] if named.is_empty() => Some(only),
        all => all.iter().find(|p| p.as_str() == named),
    };
    found.cloned().ok_or_else(|| {
        let allowed: Vec<&str> = collection.purposes.iter().map(Purpose::as_str).collect();
        let detail = format!("the collection's purposes are: {}", allowed.join(", "));
        Problem::new(ErrorCode::PurposeNotAllowed, detail)
    })
}

/// A gallery's score as a cosine: half precision leaves the length of a vector a little off one.
pub(crate) fn cosine(score: f32) -> f64 {
    f64::from(score.clamp(-1.0, 1.0))
}

pub(crate) fn collection_gone(id: &CollectionId) -> Problem {
    Problem::new(ErrorCode::CollectionNotFound, format!("there is no collection {id}"))
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
pub(crate) fn store_problem(e: RepoError) -> Problem {
    Problem::new(e.code(), e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_go_one_at_a_time_while_somebody_waits() {
        let precedence = Precedence::default();
        let (first, second) = (precedence.item().await, precedence.item().await);
        assert!(first.is_none() && second.is_none(), "nobody waits: as many as there are");
        let waited = precedence.awaited();
        let turn = precedence.item().await;
        assert!(turn.is_some());
        let mut next = Box::pin(precedence.item());
        assert!(futures::poll!(&mut next).is_pending());
        drop(turn);
        assert!(next.await.is_some());
        drop(waited);
        assert!(precedence.item().await.is_none());
    }
}
