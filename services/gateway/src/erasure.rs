//! From an erasure's commit to its acknowledgement: every live worker says that what was erased is gone from its
//! galleries, snapshots included. Used by every route that erases.

use std::time::Duration;

use domain::{CollectionId, ErrorCode, JobId, Problem};
use futures::stream::{FuturesUnordered, StreamExt};
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

/// Acknowledges the erasure that came of `erased`: not before every live worker has confirmed it. The same when there
/// was nothing to erase any more: the request may repeat one whose erasure was committed and never confirmed.
pub(crate) async fn confirmed<T>(
    app: &AppState,
    call: &Call,
    collection: &CollectionId,
    erased: Result<T>,
) -> Result<T> {
    if gone(&erased) {
        confirm(app, call, collection).await?;
    }
    erased
}

/// Whether it was erased, now or earlier.
pub(crate) fn gone<T>(erased: &Result<T>) -> bool {
    match erased {
        Ok(_) => true,
        Err(e) => matches!(
            e.problem.code,
            ErrorCode::Erased | ErrorCode::FaceNotFound | ErrorCode::SubjectNotFound | ErrorCode::CollectionNotFound
        ),
    }
}

async fn confirm(app: &AppState, call: &Call, collection: &CollectionId) -> Result<()> {
    let within = call.deadline.unwrap_or(app.config.times.deadline);
    let done = timeout(within, every_worker(app, call, collection, within)).await;
    done.unwrap_or_else(|_| Err(late(within))).map_err(|mut e| {
        let detail = &e.problem.detail;
        e.problem.detail = format!(
            "erased from the store, but not every worker has confirmed it: {detail}; repeating the request is safe"
        );
        e
    })
}

/// Asks each worker that is alive now, at its inbox. Those that join later read the store after the commit. One whose
/// lease ends without an answer is out of it: it drops its galleries by itself before that moment.
async fn every_worker(app: &AppState, call: &Call, collection: &CollectionId, within: Duration) -> Result<()> {
    let workers = app.fleet.look().await?;
    let mut waiting: Vec<&str> = workers.iter().map(|w| w.name.as_str()).collect();
    let mut answers: FuturesUnordered<_> =
        workers.iter().map(|worker| ask(app, call, collection, (worker, within))).collect();
    let mut again = interval_at(tokio::time::Instant::now() + ASK_AGAIN, ASK_AGAIN);
    while !waiting.is_empty() {
        tokio::select! {
            Some((worker, answer)) = answers.next() => {
                // One that cannot be asked, because its lease ended meanwhile, is found out below.
                if let Some(reply) = answer? {
                    confirmation(worker, reply)?;
                    waiting.retain(|name| *name != worker);
                }
            }
            _ = again.tick() => {
                let alive = app.fleet.look().await?;
                waiting.retain(|name| alive.iter().any(|w| w.name == *name));
            }
        }
    }
    Ok(())
}

/// The worker's name and its reply; none from one without an inbox.
async fn ask<'a>(
    app: &AppState,
    call: &Call,
    collection: &CollectionId,
    (worker, within): (&'a WorkerPresence, Duration),
) -> (&'a str, Result<Option<Reply>>) {
    let name = worker.name.as_str();
    if worker.inbox.is_empty() {
        return (name, Ok(None));
    }
    let job = JobId::generate();
    let request = Request::CatchUp(CatchUpRequest { collection_id: collection.to_string() });
    let envelope = Envelope { reply_to: app.reply_to.clone(), ..envelope(call, &job, request, within) };
    let _counted = Gauged::new(&app.metrics.pending);
    let mut waiting = app.pending.register(job, app.queue.clone(), false);
    if let Err(e) = app.queue.send(&worker.inbox, &envelope).await {
        return (name, Err(e.into()));
    }
    (name, Ok(waiting.reply().await))
}

/// A worker's refusal is told with a code under which callers try again: the erasure itself is done.
fn confirmation(worker: &str, reply: Reply) -> Result<()> {
    let Some(Outcome::Problem(problem)) = reply.outcome else { return Ok(()) };
    let problem = Problem::from(problem);
    tracing::warn!(worker, code = %problem.code, detail = problem.detail, "an erasure is not confirmed");
    let code = if problem.code.retryable() { problem.code } else { ErrorCode::StoreUnavailable };
    Err(ApiProblem::new(code, problem.detail))
}
