//! `GET /v1/training-runs/{id}/events`: a run's progress as server-sent events.

use axum::{extract::State, http::HeaderMap, response::Response};
use domain::{RunId, Scope};
use futures::FutureExt;
use store::{RunRecord, Versioned};

use super::{RunAnswer, find};
use crate::{
    context::Call,
    extract::Ids,
    follow::{Look, Told, follow},
    problem::Result,
    standing::Standing,
    state::App,
};

/// Follow a training run
///
/// Server-sent events, as those of a job: `progress` whenever the run has changed, about once a second while it trains, and
/// `done` when it has ended. The data of both is the run. With `last-event-id` only what is newer is told, by whichever
/// gateway; once `done` was received the answer is 204. The end of the key or token ends the stream.
#[utoipa::path(get, path = "/v1/training-runs/{run}/events", tag = "Training", security(("bearer" = ["train"])),
    params(("run" = RunId, Path), ("last-event-id" = Option<String>, Header, description = "Id of the last event received")),
    responses((status = 200, content_type = "text/event-stream", body = RunAnswer, description = "In `data` of each event"),
        (status = 204, description = "The last event has been received")),
    extensions(("x-problems" = json!(["not_found"]))))]
pub(super) async fn events(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<RunId>,
    standing: Standing,
    headers: HeaderMap,
) -> Result<Response> {
    let runs = app.runs(&call.principal.tenant);
    let now = find(&runs, &id).await?;
    let look: Look = Box::new(move || {
        let (runs, id) = (runs.clone(), id.clone());
        async move { runs.get(&id).await.map(|found| found.map(told)) }.boxed()
    });
    follow(app, &headers, (now.version, now.value.state.is_final()), look, standing.needing(vec![Scope::Train]))
}

fn told(found: Versioned<RunRecord>) -> Told {
    let last = found.value.state.is_final();
    Told {
        version: found.version,
        last,
        data: serde_json::to_string(&RunAnswer::from(found.value)).unwrap_or_default(),
    }
}
