//! `/livez`, `/readyz`, `/openapi.json`, `/docs`: what needs no credential.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{Uri, header},
    response::{Html, IntoResponse, Response},
};
use domain::{ErrorCode, FieldError, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{docs, problem::Result, state::App};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(openapi)).routes(routes!(page))
}

/// Alive or ready.
#[derive(Serialize, ToSchema)]
struct Status {
    /// `ok` or `ready`.
    status: &'static str,
    /// With `?verbose`: what was looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// One thing that must hold.
#[derive(Serialize, ToSchema)]
struct Check {
    /// `store`, `queue`, `models`, `draining`.
    name: &'static str,
    /// Whether it holds.
    ok: bool,
    /// What is missing; of the store also what an acknowledged write survives.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Whether the process answers
///
/// Looks at nothing else: a dependency that is away is no reason to restart this process.
#[utoipa::path(get, path = "/livez", tag = "System", responses((status = 200, body = Status)))]
async fn livez() -> Json<Status> {
    Json(Status { status: "ok", checks: Vec::new() })
}

/// Whether requests can be served
///
/// A worker is ready with its models, store and queue are reachable, and no shutdown has begun.
#[utoipa::path(get, path = "/readyz", tag = "System", params(("verbose" = Option<String>, Query, description = "List every check")),
    responses((status = 200, body = Status)),
    extensions(("x-problems" = json!(["model_not_ready", "store_unavailable", "queue_unavailable", "overloaded"]))))]
async fn readyz(State(app): State<App>, uri: Uri) -> Result<Json<Status>> {
    let limit = Duration::from_secs(2);
    let late = || format!("no answer within {} s", limit.as_secs());
    let store = match tokio::time::timeout(limit, app.store.check()).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(late()),
    };
    let queue = match tokio::time::timeout(limit, app.queue.check()).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(late()),
    };
    let models = app.fleet.able().await.map(drop).map_err(|e| e.problem.detail);
    let draining = if app.draining() { Err("the gateway is shutting down".to_owned()) } else { Ok(()) };
    let checks = [
        ("store", ErrorCode::StoreUnavailable, store),
        ("queue", ErrorCode::QueueUnavailable, queue),
        ("models", ErrorCode::ModelNotReady, models),
        ("draining", ErrorCode::Overloaded, draining),
    ];
    let failed: Vec<(ErrorCode, FieldError)> = checks
        .iter()
        .filter_map(|(name, code, r)| {
            let detail = r.as_ref().err()?.clone();
            Some((*code, FieldError { pointer: (*name).into(), detail }))
        })
        .collect();
    if let Some((code, first)) = failed.first() {
        let detail = format!("{}: {}", first.pointer, first.detail);
        let errors = failed.iter().map(|(_, e)| e.clone()).collect();
        return Err(Problem { code: *code, detail, errors }.into());
    }
    let verbose = uri.query().is_some_and(|q| q.split('&').any(|p| p.split('=').next() == Some("verbose")));
    let listed = checks.into_iter().map(|(name, _, r)| {
        let durability = (name == "store").then(|| app.system.durability());
        Check { name, ok: r.is_ok(), detail: r.err().or(durability) }
    });
    Ok(Json(Status { status: "ready", checks: if verbose { listed.collect() } else { Vec::new() } }))
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "System", responses((status = 200, description = "The OpenAPI document", content_type = "application/json")))]
async fn openapi(State(app): State<App>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.document.clone()).into_response()
}

/// This document for people
#[utoipa::path(get, path = "/docs", tag = "System", responses((status = 200, description = "A page that needs nothing from elsewhere", content_type = "text/html")))]
async fn page() -> Response {
    ([(header::CONTENT_SECURITY_POLICY, docs::policy())], Html(docs::page())).into_response()
}
