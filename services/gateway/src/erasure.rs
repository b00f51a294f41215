//! From an erasure's commit to its acknowledgement: kept results and answers that tell of whom was erased go too, and
//! every live worker says that it is gone from its galleries, snapshots included. Used by every route that erases, and by
//! erasures that are jobs.

use std::time::Duration;

use domain::{CollectionId, ErrorCode, JobId, Problem, SubjectId, Timestamp};
use futures::stream::{FuturesUnordered, StreamExt};
use store::{Mentions, Reach, Whom};
use tokio::time::{interval_at, timeout};
use wire::v1::{CatchUpRequest, Envelope, Reply, WorkerPresence, envelope::Request, reply::Outcome};

use crate::{
    context::Call,
    dispatch::{envelope, late},
    metrics::Gauged,
    problem::{ApiProblem, Result},
    state::AppState,
};

/// How often it is asked whether those not heard of are still alive.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Whom an erasure was about.
pub(crate) enum Of<'a> {
    /// A subject; `Reach::Kept` where it stays enrolled.
    Subject(&'a SubjectId, Reach),
    /// Everybody in the collection.
    Collection,
    /// Nobody whom kept results tell of.
    Nobody,
}

/// Acknowledges the erasure that came of `erased`: not before what tells of it is gone and every live worker has
/// confirmed it. The same when there was nothing to erase any more: the request may repeat one whose erasure was
/// committed and never confirmed.
pub(crate) async fn confirmed<T>(
    app: &AppState,
    call: &Call,
    (collection, of): (&CollectionId, Of<'_>),
    erased: Result<T>,
) -> Result<T> {
    let gone = match &erased {
        Ok(_) => true,
        Err(e) => matches!(
            e.problem.code,
            ErrorCode::Erased | ErrorCode::FaceNotFound | ErrorCode::SubjectNotFound | ErrorCode::CollectionNotFound
        ),
    };
    if gone {
        tokio::try_join!(forget(app, call, collection, of), confirm(app, call, collection))?;
    }
    erased
}

/// Erases kept results and answers that tell of whom an erasure was about.
pub(crate) async fn forget(app: &AppState, call: &Call, collection: &CollectionId, of: Of<'_>) -> Result<()> {
    let tenant = &call.principal.tenant;
    let mentions = Mentions::new(app.store.clone(), tenant);
    let now = Timestamp::now();
    let forgotten = match of {
        Of::Nobody => return Ok(()),
        Of::Collection => mentions.erase(collection, Whom::Everybody, Reach::Everything, now).await?,
        Of::Subject(id, reach) => {
            let handle = app.pepper.handle(tenant, collection, id);
            mentions.erase(collection, Whom::Subjects(&[handle]), reach, now).await?
        }
    };
    tracing::debug!(?forgotten, "kept results and answers that told of the erased");
    Ok(())
}

async fn confirm(app: &AppState, call: &Call, collection: &CollectionId) -> Result<()> {
    let done = every_worker(app, call, CatchUpRequest { collection_id: collection.to_string(), ..Default::default() });
    done.await.map(drop).map_err(|mut e| {
        let detail = &e.problem.detail;
        e.problem.detail = format!(
            "erased from the store, but not every worker has confirmed it: {detail}; repeating the request is safe"
        );
        e
    })
}

/// What the workers said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    /// How many of them.
    pub workers: u64,
    /// Subjects looked for that their galleries still hold.
    pub found: u64,
}

/// Asks each worker that is alive now, at its inbox, and waits for all of them as long as the call may take. Those that
/// join later read the store after the commit. One whose lease ends without an answer is out of it: it drops its
/// galleries by itself before that moment.
pub(crate) async fn every_worker(app: &AppState, call: &Call, request: CatchUpRequest) -> Result<Said> {
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    timeout(within, ask_all(app, call, &request, within)).await.unwrap_or_else(|_| Err(late(within)))
}

async fn ask_all(app: &AppState, call: &Call, request: &CatchUpRequest, within: Duration) -> Result<Said> {
    let mut said = Said::default();
    let workers = app.fleet.look().await?;
    let mut waiting: Vec<&str> = workers.iter().map(|w| w.name.as_str()).collect();
    let mut answers: FuturesUnordered<_> =
        workers.iter().map(|worker| ask(app, call, request, (worker, within))).collect();
    let mut again = interval_at(tokio::time::Instant::now() + ASK_AGAIN, ASK_AGAIN);
    while !waiting.is_empty() {
        tokio::select! {
            Some((worker, answer)) = answers.next() => {
                // One that cannot be asked, because its lease ended meanwhile, is found out below.
                if let Some(reply) = answer? {
                    said.found += confirmation(worker, reply)?;
                    said.workers += 1;
                    waiting.retain(|name| *name != worker);
                }
            }
            _ = again.tick() => {
                let alive = app.fleet.look().await?;
                waiting.retain(|name| alive.iter().any(|w| w.name == *name));
            }
        }
    }
    Ok(said)
}

/// The worker's name and its reply; none from one without an inbox.
async fn ask<'a>(
    app: &AppState,
    call: &Call,
    request: &CatchUpRequest,
    (worker, within): (&'a WorkerPresence, Duration),
) -> (&'a str, Result<Option<Reply>>) {
    let name = worker.name.as_str();
    if worker.inbox.is_empty() {
        return (name, Ok(None));
    }
    let job = JobId::generate();
    let request = Request::CatchUp(request.clone());
    let envelope = Envelope { reply_to: app.reply_to.clone(), ..envelope(call, &job, request, within) };
    let _counted = Gauged::new(&app.metrics.pending);
    let mut waiting = app.pending.register(job, app.queue.clone(), false);
    if let Err(e) = app.queue.send(&worker.inbox, &envelope).await {
        return (name, Err(e.into()));
    }
    (name, Ok(waiting.reply().await))
}

/// A worker's refusal is told with a code under which callers try again: the erasure itself is done.
fn confirmation(worker: &str, reply: Reply) -> Result<u64> {
    let problem = match reply.outcome {
        Some(Outcome::Problem(problem)) => problem,
        Some(Outcome::CatchUp(done)) => return Ok(done.found),
        _ => return Ok(0),
    };
    let problem = Problem::from(problem);
    tracing::warn!(worker, code = %problem.code, detail = problem.detail, "an erasure is not confirmed");
    let code = if problem.code.retryable() { problem.code } else { ErrorCode::StoreUnavailable };
    Err(ApiProblem::new(code, problem.detail))
}
