//! `/v1/erasures`: erasing subjects, or a collection, everywhere, with a signed receipt; and the keys to verify it with.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{CollectionId, ErasureId, ErrorCode, Problem, SubjectId, Timestamp};
use evidence::{Extent, Jwk, Jwks, Removed, Verification};
use serde::{Deserialize, Serialize};
use store::{ErasureRecord, ErasureState, Versioned};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    context::Call,
    erasures::{self, MOST_SUBJECTS, Order},
    extract::{Ids, JsonBody, Page, PageQuery, Search},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(order, list))
        .routes(routes!(show))
        .routes(routes!(receipt))
        .routes(routes!(keys))
        .routes(routes!(rotate))
}

/// What is to be erased.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewErasure {
    /// Where.
    collection_id: CollectionId,
    /// Whom, 1 to 10000; whether enrolled or not.
    #[serde(default)]
    subject_ids: Vec<SubjectId>,
    /// `true` instead of subjects: the collection with everybody in it.
    #[serde(default)]
    whole_collection: bool,
    /// Why. Stands in the receipt, so it names nobody.
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// An erasure, step by step.
#[derive(Serialize, ToSchema)]
#[schema(as = Erasure)]
struct ErasureAnswer {
    /// Its id.
    id: ErasureId,
    /// Where.
    collection_id: CollectionId,
    /// What.
    extent: Extent,
    /// Subjects named.
    subjects: u32,
    /// Why, as the caller said.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `queued`, `running` or `succeeded`. It does not fail: what is in its way is waited out.
    #[schema(value_type = String, example = "running")]
    state: ErasureState,
    /// When it was asked for.
    requested_at: Timestamp,
    /// When it last got on.
    updated_at: Timestamp,
    /// Places, in order, and the look through all of them.
    steps: Vec<StepAnswer>,
    /// What is gone so far.
    removed: Removed,
    /// What the look through all places found.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
    /// Why it does not get on at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

/// One step.
#[derive(Serialize, ToSchema)]
#[schema(as = ErasureStep)]
struct StepAnswer {
    /// `records`, `results`, `galleries`, `verification`.
    name: String,
    /// Whether it is done.
    done: bool,
    /// When it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    done_at: Option<Timestamp>,
}

impl From<ErasureRecord> for ErasureAnswer {
    fn from(r: ErasureRecord) -> Self {
        let step = |s: store::ErasureStep| StepAnswer { name: s.name, done: s.done_at.is_some(), done_at: s.done_at };
        Self {
            id: r.id,
            collection_id: r.collection,
            extent: r.extent,
            subjects: r.subjects,
            reason: r.reason,
            state: r.state,
            requested_at: r.requested_at,
            updated_at: r.updated_at,
            steps: r.steps.into_iter().map(step).collect(),
            removed: r.removed,
            verification: r.verification,
            trouble: r.trouble,
        }
    }
}

/// Erase with a receipt
///
/// Erases subjects, or a whole collection, in every place: records, results of jobs and answers kept for idempotency keys
/// that tell of them, items of bulk jobs not begun, the galleries of all workers with their snapshots. Then it is looked
/// for in all of them, and a signed receipt says so. Goes on when the service is restarted. Ids that are not enrolled are
/// no error; the receipt says how each was found.
#[utoipa::path(post, path = "/v1/erasures", tag = "Erasures", security(("bearer" = ["erase"])),
    request_body = NewErasure, responses((status = 202, body = ErasureAnswer, description = "Accepted; `location` says where to look")),
    extensions(("x-problems" = json!(["collection_not_found"]))))]
async fn order(State(app): State<App>, call: Call, JsonBody(new): JsonBody<NewErasure>) -> Result<Response> {
    if new.subject_ids.is_empty() != new.whole_collection {
        let detail = "name subjects, or say \"whole_collection\": true; one of both";
        return Err(Problem::invalid("/subject_ids", detail).into());
    }
    if new.subject_ids.len() > MOST_SUBJECTS {
        return Err(Problem::invalid("/subject_ids", format!("names at most {MOST_SUBJECTS} subjects")).into());
    }
    if new.reason.as_ref().is_some_and(|r| r.is_empty() || r.chars().count() > 200) {
        return Err(Problem::invalid("/reason", "has 1 to 200 characters").into());
    }
    let tenant = &call.principal.tenant;
    let id = call.fresh(ErasureId::generate);
    call.notes.collection(&new.collection_id);
    call.notes.reference(&id);
    new.subject_ids.iter().take(FEW).for_each(|id| call.notes.subject(id));
    let order = Order {
        collection: erasures::target(&app, tenant, &new.collection_id).await?,
        extent: if new.whole_collection { Extent::Collection } else { Extent::Subjects },
        subjects: new.subject_ids,
        reason: new.reason,
        key: Some(call.principal.key.clone()),
        id,
    };
    let record = erasures::begin(&app, tenant, order).await?;
    let location = HeaderValue::from_str(&format!("/v1/erasures/{}", record.id));
    let mut response = (StatusCode::ACCEPTED, Json(ErasureAnswer::from(record))).into_response();
    if let Ok(v) = location {
        response.headers_mut().insert(header::LOCATION, v);
    }
    Ok(response)
}

/// Subjects listed in the event of the request; the event of its end has them as well.
const FEW: usize = 32;

/// List erasures
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/erasures", tag = "Erasures", security(("bearer" = ["erase"])),
    params(PageQuery), responses((status = 200, body = Page<ErasureAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(
    State(app): State<App>,
    call: Call,
    Search(page): Search<PageQuery>,
) -> Result<Json<Page<ErasureAnswer>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = app.erasures_of(&call.principal.tenant).list(after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(ErasureAnswer::from).collect(), next)))
}

async fn find(app: &App, call: &Call, id: &ErasureId) -> Result<Versioned<ErasureRecord>> {
    let found = app.erasures_of(&call.principal.tenant).get(id).await?;
    found.ok_or_else(|| ApiProblem::new(ErrorCode::NotFound, format!("there is no erasure {id}")))
}

/// Show an erasure
///
/// Step by step.
#[utoipa::path(get, path = "/v1/erasures/{erasure}", tag = "Erasures", security(("bearer" = ["erase"])),
    params(("erasure" = ErasureId, Path)), responses((status = 200, body = ErasureAnswer)),
    extensions(("x-problems" = json!(["not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<ErasureId>) -> Result<Json<ErasureAnswer>> {
    Ok(Json(find(&app, &call, &id).await?.value.into()))
}

/// Read a receipt
///
/// A compact JWS (RFC 7515), signed with Ed25519 (`EdDSA`); `visavis receipts verify` checks it offline. It names nobody:
/// subjects are told by handle and by a salted digest of their id.
#[utoipa::path(get, path = "/v1/erasures/{erasure}/receipt", tag = "Erasures", security(("bearer" = ["erase"])),
    params(("erasure" = ErasureId, Path)),
    responses((status = 200, content_type = "application/jose", body = String, description = "The signed receipt")),
    extensions(("x-problems" = json!(["not_found", "conflict"]))))]
async fn receipt(State(app): State<App>, call: Call, Ids(id): Ids<ErasureId>) -> Result<Response> {
    let record = find(&app, &call, &id).await?.value;
    let Some(signed) = app.erasures_of(&call.principal.tenant).receipt(&id).await? else {
        let step = record.steps.iter().find(|s| s.done_at.is_none()).map_or("receipt", |s| &s.name);
        let detail = format!("the erasure is not done yet; it is at the step {step}");
        return Err(ApiProblem::new(ErrorCode::Conflict, detail));
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/jose"))], signed).into_response())
}

/// Keys of receipts and audit trails
///
/// A key set (RFC 7517): the key in use and every one before it. Keep a copy with receipts that must be verifiable
/// without the service.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Erasures",
    responses((status = 200, body = Jwks)), extensions(("x-problems" = json!(["store_unavailable"]))))]
async fn keys(State(app): State<App>) -> Result<Json<Jwks>> {
    Ok(Json(app.signing_keys().public().await?))
}

/// Put a new signing key into use
///
/// The private half of the former one is erased; its public half stays in the key set. All tenants share the key, so no
/// tenant's admin may change it.
#[utoipa::path(post, path = "/v1/signing-keys", tag = "Erasures", security(("bearer" = ["tenants"])),
    responses((status = 201, body = Jwk)))]
async fn rotate(State(app): State<App>, call: Call) -> Result<Response> {
    let made = app.signing_keys().rotate().await?;
    call.notes.reference(&made.kid);
    Ok((StatusCode::CREATED, Json(made)).into_response())
}
