//! `/v1/system`: roles, workers, models and lanes as they are now.

use axum::{Json, extract::State};
use domain::{ContractId, Lane};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::ModelInUse;

use crate::{fleet, problem::Result, state::App};

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
    /// Roles running in the process that answers, such as `gateway`, `worker`.
    roles: Vec<String>,
    /// Live workers, those not ready included.
    workers: usize,
    /// Workers that take jobs.
    workers_ready: usize,
    /// Model set of the worker started last, as answers name it; empty while none is ready.
    model_version: String,
    /// Model sets of all ready workers: more than one during a change of model.
    model_versions: Vec<String>,
    /// Models in use by ready workers.
    models: Vec<ModelInfo>,
    /// Engine of the store, such as `redb`.
    store_engine: &'static str,
    /// Engine of the queue, such as `memory`.
    queue_engine: String,
    /// How full the lanes are.
    lanes: Vec<LaneState>,
}

/// A model in use.
#[derive(Serialize, ToSchema)]
struct ModelInfo {
    /// `detector` or `embedder`.
    role: String,
    /// The manifest's id.
    id: String,
    /// SPDX licence of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    /// Execution provider in use, such as `cpu`, `cuda`.
    provider: String,
    /// Embedding contract, of an embedder.
    #[serde(skip_serializing_if = "Option::is_none")]
    contract: Option<ContractId>,
}

impl From<&ModelInUse> for ModelInfo {
    fn from(m: &ModelInUse) -> Self {
        Self {
            role: m.role.clone(),
            id: m.name.clone(),
            licence: Some(m.licence.clone()).filter(|l| !l.is_empty()),
            provider: m.provider.clone(),
            contract: m.contract.parse().ok(),
        }
    }
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

/// Roles, workers, models and queue depth
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
    let workers = app.fleet.look().await?;
    let workers_ready = fleet::ready(&workers).count();
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION"),
        ready: workers_ready > 0,
        roles: app.system.roles(),
        workers: workers.len(),
        workers_ready,
        model_version: fleet::newest(&workers).map(|w| w.model_version.clone()).unwrap_or_default(),
        model_versions: fleet::model_versions(&workers).into_iter().map(str::to_owned).collect(),
        models: fleet::models(&workers).into_iter().map(ModelInfo::from).collect(),
        store_engine: app.store.engine(),
        queue_engine: app.system.queue_engine(),
        lanes,
    }))
}
