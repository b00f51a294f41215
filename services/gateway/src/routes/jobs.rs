//! `/v1/jobs`: work that was not waited for.

mod bulk;
mod events;
mod results;

use axum::{Json, extract::State, http::StatusCode};
use bytes::Bytes;
use domain::{ErrorCode, JobId, JobKind, JobRecord, JobState, Problem, Progress, RequestId, Scope, Timestamp};
use serde::Serialize;
use store::{Jobs, Versioned, erased_result};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    answers::{Answer, answer},
    auth,
    context::Call,
    extract::{Ids, Page, PageQuery, Search},
    notes::Notes,
    problem::{self, ApiProblem, ProblemBody, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, bulk::submit))
        .routes(routes!(show, cancel))
        .routes(routes!(results::results))
        .routes(routes!(events::events))
}

/// A job, with its outcome once there is one.
#[derive(Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobAnswer {
    /// Its id.
    id: JobId,
    /// What it does.
    kind: JobKind,
    /// Where it stands.
    state: JobState,
    /// When it was accepted.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
    /// When it and its result are dropped.
    expires_at: Timestamp,
    /// How far it has come, if it is of many items.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    /// What the request would have been answered with at once, if it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Answer>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl JobAnswer {
    /// `outcome` is the rendered reply and the request that is being answered.
    pub fn of(job: JobRecord, outcome: Option<(Result<Answer, Problem>, RequestId)>) -> Self {
        let JobRecord { id, kind, mut state, created_at, updated_at, expires_at, progress, .. } = job;
        let (mut result, mut failure) = (None, None);
        match outcome {
            Some((Ok(answer), _)) => result = Some(answer),
            Some((Err(p), request_id)) => {
                state = JobState::Failed;
                failure = Some(problem::body(p, request_id));
            }
            None => {}
        }
        Self { id, kind, state, created_at, updated_at, expires_at, progress, result, problem: failure }
    }
}

/// The scope whose operation gives such a result.
fn scope(kind: JobKind) -> Scope {
    match kind {
        JobKind::Detect => Scope::Detect,
        JobKind::Compare => Scope::Compare,
        JobKind::Embed => Scope::Embed,
        JobKind::Enrol | JobKind::BulkEnrol => Scope::SubjectsWrite,
        JobKind::Identify | JobKind::BulkIdentify => Scope::Identify,
        JobKind::Verify => Scope::Verify,
        JobKind::CatchUp => Scope::Erase,
        JobKind::Train => Scope::Train,
        JobKind::Promote => Scope::Models,
    }
}

/// The job, if the caller may see what comes of it: the key that did not start it needs the scope of what it does.
async fn visible(jobs: &Jobs, call: &Call, id: &JobId) -> Result<Versioned<JobRecord>> {
    let job = jobs.get(id).await?.ok_or_else(|| missing(id))?;
    if job.value.key != call.principal.key {
        auth::require(&call.principal, scope(job.value.kind))?;
    }
    Ok(job)
}

/// List jobs
///
/// Without results.
#[utoipa::path(get, path = "/v1/jobs", tag = "Jobs", security(("bearer" = ["jobs"])),
    params(PageQuery), responses((status = 200, body = Page<JobAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(page): Search<PageQuery>) -> Result<Json<Page<JobAnswer>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = app.jobs(&call.principal.tenant).list(after.as_deref(), limit).await?;
    let item = |job: JobRecord| {
        let failure = job.problem.clone().map(|p| (Err(p), call.request_id.clone()));
        JobAnswer::of(job, failure)
    };
    Ok(Json(Page::new(found.into_iter().map(|j| item(j.value)).collect(), next)))
}

/// Show a job
///
/// Its result under `result`, in the form of the synchronous answer, or its `problem`; those of a bulk job are at
/// `/results`. The key that did not start the job needs the scope of what it does.
#[utoipa::path(get, path = "/v1/jobs/{job}", tag = "Jobs", security(("bearer" = ["jobs"])),
    params(("job" = JobId, Path)), responses((status = 200, body = JobAnswer)),
    extensions(("x-problems" = json!(["job_not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<JobId>) -> Result<Json<JobAnswer>> {
    let jobs = app.jobs(&call.principal.tenant);
    let job = visible(&jobs, &call, &id).await?.value;
    let outcome = outcome(&jobs, &job, &call.notes).await?;
    Ok(Json(JobAnswer::of(job, outcome.map(|o| (o, call.request_id)))))
}

/// What became of a job that is not of many items; `None` while it has not ended.
async fn outcome(jobs: &Jobs, job: &JobRecord, notes: &Notes) -> Result<Option<Result<Answer, Problem>>> {
    Ok(match (&job.problem, job.state) {
        (Some(p), _) => Some(Err(p.clone())),
        (None, JobState::Succeeded) if job.progress.is_none() => match jobs.result(&job.id).await? {
            Some(bytes) => Some(stored(&job.id, bytes, notes)),
            None => Some(Err(erased_result())),
        },
        (None, _) => None,
    })
}

/// A reply as the store keeps it; an empty one was erased.
fn stored(id: &JobId, bytes: Bytes, notes: &Notes) -> Result<Answer, Problem> {
    if bytes.is_empty() {
        return Err(erased_result());
    }
    match wire::decode_reply(bytes) {
        Ok(reply) => {
            notes.disclosed(&reply);
            answer(reply)
        }
        Err(e) => {
            tracing::error!(job = %id, error = %e, "stored reply");
            Err(Problem::new(ErrorCode::Internal, "the stored result cannot be read"))
        }
    }
}

/// Cancel a job
///
/// Work that has begun may still be finished, but its result is not kept. Of a bulk job the results so far stay.
#[utoipa::path(delete, path = "/v1/jobs/{job}", tag = "Jobs", security(("bearer" = ["jobs"])),
    params(("job" = JobId, Path)), responses((status = 204, description = "Cancelled")),
    extensions(("x-problems" = json!(["job_not_found", "queue_unavailable"]))))]
async fn cancel(State(app): State<App>, call: Call, Ids(id): Ids<JobId>) -> Result<StatusCode> {
    let jobs = app.jobs(&call.principal.tenant);
    let job = jobs.cancel(&id, Timestamp::now()).await?;
    if job.progress.is_some() {
        jobs.drop_items(&id).await?;
    }
    for id in [id].iter().chain(&bulk::strand_ids(&job)) {
        app.queue.cancel(id).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn missing(id: &JobId) -> ApiProblem {
    ApiProblem::new(ErrorCode::JobNotFound, format!("there is no job {id}, or its time is over"))
}
