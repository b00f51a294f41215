//! `GET /v1/jobs/{id}/events`: a job's progress as server-sent events. Each event is the whole job as it is, named by
//! the version of its record, so that a client can go on at any gateway after any interruption.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use domain::{ErrorCode, JobId, JobRecord, RequestId, Scope};
use futures::{Stream, stream};
use store::{Jobs, Revision, Versioned};
use tokio::sync::OwnedSemaphorePermit;

use super::{JobAnswer, scope, visible};
use crate::{
    context::Call,
    extract::Ids,
    problem::{ApiProblem, Result},
    standing::Standing,
    state::App,
};

/// How often the record is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How often a comment tells the client and what lies between that the stream lives.
const ALIVE: Duration = Duration::from_secs(10);
/// How soon a client is to connect again after an interruption.
const RETRY: Duration = Duration::from_secs(1);

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
    let received = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse().ok()).map(Revision);
    if now.value.state.is_final() && received == Some(now.version) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let permit = Arc::clone(&app.event_streams).try_acquire_owned().map_err(|_| {
        let detail = "as many jobs are being followed here as may be; ask for the job itself instead";
        ApiProblem::new(ErrorCode::Overloaded, detail).retry_after(Duration::from_secs(5))
    })?;
    // As `visible` has it: whoever did not start the job needs the scope of what it does as well.
    let others = (now.value.key != call.principal.key).then(|| scope(now.value.kind));
    let standing = standing.needing([Scope::Jobs].into_iter().chain(others).collect());
    let request = call.request_id;
    let follow = Follow { app, jobs, id, request, standing, told: received, fresh: true, _permit: permit };
    let sse = Sse::new(follow.events()).keep_alive(KeepAlive::new().interval(ALIVE));
    // Proxies that gather answers would hold events back.
    Ok(([(HeaderName::from_static("x-accel-buffering"), "no")], sse).into_response())
}

/// One stream.
struct Follow {
    app: App,
    jobs: Jobs,
    id: JobId,
    request: RequestId,
    standing: Standing,
    /// The version the client has.
    told: Option<Revision>,
    /// Nothing was sent on this connection yet.
    fresh: bool,
    _permit: OwnedSemaphorePermit,
}

impl Follow {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), |follow| async {
            let mut follow = follow?;
            let (event, last) = follow.next().await?;
            Some((Ok(event), (!last).then_some(follow)))
        })
    }

    /// The next event and whether it is the last; `None` when the stream ends before the job does.
    async fn next(&mut self) -> Option<(Event, bool)> {
        loop {
            if self.app.draining() || !self.standing.holds(&self.app).await {
                return None;
            }
            match self.jobs.get(&self.id).await {
                Ok(Some(found)) if self.told != Some(found.version) || found.value.state.is_final() => {
                    return Some(self.event(found));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                // The client keeps its connection; the next look may succeed.
                Err(e) => tracing::debug!(job = %self.id, error = %e, "a followed job cannot be read"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn event(&mut self, found: Versioned<JobRecord>) -> (Event, bool) {
        let last = found.value.state.is_final();
        let failure = found.value.problem.clone().map(|p| (Err(p), self.request.clone()));
        let data = serde_json::to_string(&JobAnswer::of(found.value, failure)).unwrap_or_default();
        let name = if last { "done" } else { "progress" };
        let mut event = Event::default().event(name).id(found.version.0.to_string()).data(data);
        if std::mem::take(&mut self.fresh) {
            event = event.retry(RETRY);
        }
        self.told = Some(found.version);
        (event, last)
    }
}
