//! `GET /v1/jobs/{id}/events`: a job's progress as server-sent events.

use axum::{extract::State, http::HeaderMap, response::Response};
use domain::{JobId, JobRecord, RequestId, Scope};
use futures::FutureExt;
use store::Versioned;

use super::{JobAnswer, scope, visible};
use crate::{
    context::Call,
    extract::Ids,
    follow::{Look, Told, follow},
    problem::Result,
    standing::Standing,
    state::App,
};

/// Follow a job
///
/// Server-sent events: `progress` whenever the job has changed, and `done` when it has ended, after which the stream
/// ends. The data of both is the job without its result. With `last-event-id` only what is newer is told, by whichever
/// gateway; once `done` was received the answer is 204, which tells an event source to stay away. A gateway that shuts
/// down ends its streams early: connect again. So does the end of the key or token: connecting again tells why.
#[utoipa::path(get, path = "/v1/jobs/{job}/events", tag = "Jobs", security(("bearer" = ["jobs"])),
    params(("job" = JobId, Path), ("last-event-id" = Option<String>, Header, description = "Id of the last event received")),
    responses((status = 200, content_type = "text/event-stream", body = JobAnswer, description = "In `data` of each event"),
        (status = 204, description = "The last event has been received")),
    extensions(("x-problems" = json!(["job_not_found"]))))]
pub(super) async fn events(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<JobId>,
    standing: Standing,
    headers: HeaderMap,
) -> Result<Response> {
    let jobs = app.jobs(&call.principal.tenant);
    let now = visible(&jobs, &call, &id).await?;
    // As `visible` has it: whoever did not start the job needs the scope of what it does as well.
    let others = (now.value.key != call.principal.key).then(|| scope(now.value.kind));
    let standing = standing.needing([Scope::Jobs].into_iter().chain(others).collect());
    let request = call.request_id;
    let look: Look = Box::new(move || {
        let (jobs, id, request) = (jobs.clone(), id.clone(), request.clone());
        async move { jobs.get(&id).await.map(|found| found.map(|job| told(job, request))) }.boxed()
    });
    follow(app, &headers, (now.version, now.value.state.is_final()), look, standing)
}

fn told(found: Versioned<JobRecord>, request: RequestId) -> Told {
    let last = found.value.state.is_final();
    let failure = found.value.problem.clone().map(|p| (Err(p), request));
    let data = serde_json::to_string(&JobAnswer::of(found.value, failure)).unwrap_or_default();
    Told { version: found.version, last, data }
}
