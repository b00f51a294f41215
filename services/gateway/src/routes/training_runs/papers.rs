//! What a trainer leaves beside a run's record: who was in it, by handle, and the report as one page.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use domain::{ErrorCode, RunId, RunState};

use super::find;
use crate::{
    context::Call,
    extract::Ids,
    problem::{ApiProblem, Result},
    state::{App, AppState},
};

/// The page shows numbers and curves of its own, and loads nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Read a training run's lineage
///
/// Everybody who was learnt from and everybody who was measured with, by the handle that the audit trail uses too, with the
/// consents that allowed it and the hash of every crop. Names nobody. There once the run has looked through the consents.
#[utoipa::path(get, path = "/v1/training-runs/{run}/lineage", tag = "Training", security(("bearer" = ["train"])),
    params(("run" = RunId, Path)),
    responses((status = 200, content_type = "application/json", body = serde_json::Value, description = "The lineage")),
    extensions(("x-problems" = json!(["not_found", "conflict"]))))]
pub(super) async fn lineage(State(app): State<App>, call: Call, Ids(id): Ids<RunId>) -> Result<Response> {
    let text = document(&app, &call, &id, "lineage").await?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], Body::from(text)).into_response())
}

/// Read a training run's report
///
/// One page: how it learnt, what it learnt from, the model beside the one it began with. There once the run has ended.
#[utoipa::path(get, path = "/v1/training-runs/{run}/report.html", tag = "Training", security(("bearer" = ["train"])),
    params(("run" = RunId, Path)),
    responses((status = 200, content_type = "text/html", body = String, description = "The page")),
    extensions(("x-problems" = json!(["not_found", "conflict"]))))]
pub(super) async fn report(State(app): State<App>, call: Call, Ids(id): Ids<RunId>) -> Result<Response> {
    let page = document(&app, &call, &id, "report.html").await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (HeaderName::from_static("content-security-policy"), HeaderValue::from_static(POLICY)),
    ];
    Ok((headers, Body::from(page)).into_response())
}

/// A document, or why there is none.
async fn document(app: &AppState, call: &Call, id: &RunId, name: &str) -> Result<Bytes> {
    let runs = app.runs(&call.principal.tenant);
    let run = find(&runs, id).await?.value;
    if let Some(found) = runs.document(id, name).await? {
        return Ok(found);
    }
    let detail = match run.state {
        RunState::Cancelled => "the run was cancelled before there was any".to_owned(),
        RunState::Failed => "the run failed before there was any".to_owned(),
        state => format!("there is none yet; the run is {state}"),
    };
    Err(ApiProblem::new(ErrorCode::Conflict, detail))
}
