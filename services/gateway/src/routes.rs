//! The routes, one file per resource. A handler reads its request, asks the store or a worker, and answers.

mod api_keys;
mod audit_events;
mod collections;
mod compare;
mod consents;
mod detect;
mod embeddings;
mod enrol;
mod erasures;
mod faces;
mod identify;
pub(crate) mod jobs;
mod models;
mod parameters;
mod patch;
mod probes;
mod retention;
mod subjects;
mod system;
mod training_runs;
mod transfer;
mod verify;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use store::Revision;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use patch::merged;

use crate::{extract::tag, state::App};

/// Every route with its part of the OpenAPI document.
pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(probes::routes())
        .merge(system::routes())
        .merge(detect::routes())
        .merge(compare::routes())
        .merge(embeddings::routes())
        .merge(collections::routes())
        .merge(retention::routes())
        .merge(subjects::routes())
        .merge(faces::routes())
        .merge(identify::routes())
        .merge(verify::routes())
        .merge(consents::routes())
        .merge(transfer::routes())
        .merge(jobs::routes())
        .merge(models::routes())
        .merge(erasures::routes())
        .merge(training_runs::routes())
        .merge(audit_events::routes())
        .merge(api_keys::routes())
}

/// 201 with `location` and, for what can be changed, its entity tag.
fn created<T: Serialize>(location: &str, version: Option<Revision>, body: T) -> Response {
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if let Ok(v) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, v);
    }
    if let Some(version) = version {
        response.headers_mut().insert(header::ETAG, tag(version));
    }
    response
}

/// 200 with an entity tag.
fn tagged<T: Serialize>(version: Revision, body: T) -> ([(HeaderName, HeaderValue); 1], Json<T>) {
    ([(header::ETAG, tag(version))], Json(body))
}
