//! `POST /v1/collections/{c}/retention/sweep`: who is kept too long, and their erasure.

use axum::{Json, extract::State};
use domain::{CollectionId, Problem, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    context::Call,
    extract::{Ids, JsonBody},
    problem::Result,
    retention::{Sweep, Swept, sweep},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(run))
}

/// How to sweep.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SweepBody {
    /// Only tell who would be erased. On unless said otherwise.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Tell who will be due at this moment; for a dry run alone. The present one unless said.
    at: Option<Timestamp>,
}

const fn yes() -> bool {
    true
}

/// What a sweep found and did.
#[derive(Serialize, ToSchema)]
struct SweepAnswer {
    /// Whether nothing was erased.
    dry_run: bool,
    /// The moment by which it was decided.
    at: Timestamp,
    /// The rest.
    #[serde(flatten)]
    swept: Swept,
}

/// Erase who is kept too long
///
/// Subjects enrolled longer ago than `retention.max_age_days`, not matched for `retention.idle_days`, or whose last consent
/// for the collection's purposes has expired; and consents of people who are not enrolled once they have ended. The service does this by itself now and then; with `"dry_run": true`, as it is
/// unless said otherwise, it only tells, also for a day to come. `complete` is false when the time did not suffice:
/// repeat the request then.
#[utoipa::path(post, path = "/v1/collections/{collection}/retention/sweep", tag = "Collections", security(("bearer" = ["erase"])),
    params(("collection" = CollectionId, Path)), request_body = SweepBody, responses((status = 200, body = SweepAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "queue_unavailable", "deadline_exceeded"]))))]
async fn run(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    JsonBody(body): JsonBody<SweepBody>,
) -> Result<Json<SweepAnswer>> {
    let SweepBody { dry_run, at } = body;
    if at.is_some() && !dry_run {
        return Err(Problem::invalid("/at", "another moment than the present one is for a dry run alone").into());
    }
    // Half of the caller's time, so that the workers can confirm what was erased.
    let within = call.deadline.unwrap_or(app.config.times.deadline) / 2;
    let how = Sweep { dry_run, at: at.unwrap_or_else(Timestamp::now), until: Instant::now() + within };
    let swept = sweep(&app, &call, &id, how).await?;
    Ok(Json(SweepAnswer { dry_run, at: how.at, swept }))
}
