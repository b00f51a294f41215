//! `/v1/system`: roles, models and lanes as they are now.

use axum::{Json, extract::State};
use domain::Lane;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{problem::Result, state::App, system::SystemSnapshot};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(system))
}

/// The service's state.
#[derive(Serialize, ToSchema)]
struct System {
    /// The service's version.
    version: &'static str,
    /// Whether requests that need models are served.
    ready: bool,
    /// Roles, models and engines.
    #[serde(flatten)]
    snapshot: SystemSnapshot,
    /// How full the lanes are.
    lanes: Vec<LaneState>,
}

/// How full a lane is.
#[derive(Serialize, ToSchema)]
struct LaneState {
    /// Which.
    lane: Lane,
    /// Jobs nobody has taken.
    waiting: usize,
    /// Jobs being worked on.
    in_flight: usize,
    /// How long the oldest job has waited.
    oldest_ms: u64,
}

/// Roles, models and queue depth
#[utoipa::path(get, path = "/v1/system", tag = "System", security(("bearer" = ["keys"])),
    responses((status = 200, body = System)), extensions(("x-problems" = json!(["queue_unavailable"]))))]
async fn system(State(app): State<App>) -> Result<Json<System>> {
    let mut lanes = Vec::with_capacity(Lane::ALL.len());
    for lane in Lane::ALL {
        let depth = app.queue.depth(lane).await?;
        lanes.push(LaneState {
            lane,
            waiting: depth.waiting,
            in_flight: depth.in_flight,
            oldest_ms: u64::try_from(depth.oldest_age.as_millis()).unwrap_or(u64::MAX),
        });
    }
    let ready = app.system.models_ready().is_ok();
    Ok(Json(System { version: env!("CARGO_PKG_VERSION"), ready, snapshot: app.system.snapshot(), lanes }))
}
