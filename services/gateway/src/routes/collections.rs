//! `/v1/collections`: named galleries and their policy.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{
    Collection, CollectionId, ConsentPolicy, DecisionPolicy, Metadata, Problem, PromotionPolicy, Purpose, QualityGate,
    RetainCrops, Retention, Timestamp, TrainingPolicy,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Enrolled, Revision};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{created, patch::merge, tagged};
use crate::{
    context::Call,
    crops,
    erasure::{Of, confirmed},
    extract::{Ids, IfMatch, JsonBody, Page, PageQuery, Search},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, change, remove)).routes(routes!(stats))
}

/// A collection to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewCollection {
    /// Its id; made if absent.
    id: Option<CollectionId>,
    /// For people.
    #[schema(max_length = 200)]
    name: Option<String>,
    /// What it may be used for; at least one.
    purposes: Vec<Purpose>,
    /// When an identification counts as a match.
    #[serde(default)]
    decision: DecisionPolicy,
    /// Lowest quality that may be enrolled.
    #[serde(default)]
    quality_gate: QualityGate,
    /// What is kept of pictures beyond the template.
    #[serde(default)]
    retain_crops: RetainCrops,
    /// How long subjects are kept.
    #[serde(default)]
    retention: Retention,
    /// What is asked of consents.
    #[serde(default)]
    consent: ConsentPolicy,
    /// When it starts a training run by itself.
    #[serde(default)]
    training: TrainingPolicy,
    /// How models change in it.
    #[serde(default)]
    promotion: PromotionPolicy,
    /// The caller's own labels.
    #[serde(default)]
    metadata: Metadata,
}

/// What of a collection can be changed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CollectionPatch {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// What it may be used for; at least one.
    purposes: Vec<Purpose>,
    /// When an identification counts as a match.
    #[serde(default)]
    decision: DecisionPolicy,
    /// Lowest quality that may be enrolled.
    #[serde(default)]
    quality_gate: QualityGate,
    /// What is kept of pictures beyond the template.
    #[serde(default)]
    retain_crops: RetainCrops,
    /// How long subjects are kept.
    #[serde(default)]
    retention: Retention,
    /// What is asked of consents.
    #[serde(default)]
    consent: ConsentPolicy,
    /// When it starts a training run by itself.
    #[serde(default)]
    training: TrainingPolicy,
    /// How models change in it.
    #[serde(default)]
    promotion: PromotionPolicy,
    /// The caller's own labels.
    #[serde(default)]
    metadata: Metadata,
}

/// How much a collection holds.
#[derive(Serialize, ToSchema)]
struct Stats {
    /// Enrolled subjects.
    subjects: usize,
    /// Faces of all of them.
    faces: usize,
    /// Revision of the collection's content.
    revision: u64,
    /// All of the tenant's collections together.
    tenant: TenantStats,
}

/// How many persons a tenant has enrolled: from some number on, authorities may have to be told.
#[derive(Serialize, ToSchema)]
struct TenantStats {
    /// Subjects of all collections; a person in two of them counts twice. Absent before they were first counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<u64>,
    /// When they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_at: Option<Timestamp>,
    /// The number to beware of, as configured; 0 for none.
    warning_level: u64,
    /// Whether it is reached.
    warning: bool,
}

fn check(c: &Collection) -> Result<(), Problem> {
    if c.purposes.is_empty() || c.purposes.len() > 32 {
        return Err(Problem::invalid("/purposes", "name 1 to 32 purposes"));
    }
    if c.name.as_ref().is_some_and(|n| n.chars().count() > 200) {
        return Err(Problem::invalid("/name", "has at most 200 characters"));
    }
    let DecisionPolicy { target_fpir, min_margin } = c.decision;
    if !(target_fpir > 0.0 && target_fpir < 1.0) {
        return Err(Problem::invalid("/decision/target_fpir", "must be a rate above 0 and below 1"));
    }
    if !(0.0..=2.0).contains(&min_margin) {
        return Err(Problem::invalid("/decision/min_margin", "must lie between 0 and 2"));
    }
    c.retention.check("/retention")?;
    c.consent.check("/consent")?;
    c.training.check("/training")?;
    if c.training.auto && c.retain_crops == RetainCrops::None {
        return Err(Problem::invalid("/training/auto", "needs crops to learn from: set retain_crops to \"training\""));
    }
    c.promotion.check("/promotion")?;
    c.metadata.check("/metadata")
}

/// Make a collection
#[utoipa::path(post, path = "/v1/collections", tag = "Collections", security(("bearer" = ["subjects:write"])),
    request_body = NewCollection, responses((status = 201, body = Collection)),
    extensions(("x-problems" = json!(["model_not_ready", "queue_unavailable"]))))]
async fn create(State(app): State<App>, call: Call, JsonBody(new): JsonBody<NewCollection>) -> Result<Response> {
    let contract = app.fleet.contract().await?;
    let now = Timestamp::now();
    let collection = Collection {
        id: new.id.unwrap_or_else(|| call.fresh(CollectionId::generate)),
        name: new.name,
        purposes: new.purposes,
        decision: new.decision,
        quality_gate: new.quality_gate,
        retain_crops: new.retain_crops,
        retention: new.retention,
        idle_from: new.retention.idle_days.map(|_| now),
        consent: new.consent,
        training: new.training,
        promotion: new.promotion,
        metadata: new.metadata,
        contract,
        serving: None,
        created_at: now,
        updated_at: now,
    };
    check(&collection)?;
    crops::check(&app, collection.retain_crops)?;
    let version = app.collections.create(&call.principal.tenant, &collection).await?;
    Ok(created(&format!("/v1/collections/{}", collection.id), Some(version), collection))
}

/// List collections
#[utoipa::path(get, path = "/v1/collections", tag = "Collections", security(("bearer" = ["subjects:read"])),
    params(PageQuery), responses((status = 200, body = Page<Collection>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(page): Search<PageQuery>) -> Result<Json<Page<Collection>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = app.collections.list(&call.principal.tenant, after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(|c| c.value).collect(), next)))
}

/// Show a collection
#[utoipa::path(get, path = "/v1/collections/{collection}", tag = "Collections", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path)), responses((status = 200, body = Collection)),
    extensions(("x-problems" = json!(["collection_not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<CollectionId>) -> Result<impl IntoResponse> {
    let found = app.collection(&call.principal, &id).await?;
    Ok(tagged(found.version, found.value))
}

/// Change a collection
///
/// A JSON merge patch: members replace, `null` removes, the rest stays. With `retain_crops` set to `none` the crops that
/// are there are erased before the answer.
#[utoipa::path(patch, path = "/v1/collections/{collection}", tag = "Collections", security(("bearer" = ["subjects:write"])),
    params(("collection" = CollectionId, Path), ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    request_body(content((CollectionPatch = "application/merge-patch+json"), (CollectionPatch = "application/json"))),
    responses((status = 200, body = Collection)),
    extensions(("x-problems" = json!(["collection_not_found", "precondition_failed"]))))]
async fn change(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    condition: IfMatch,
    JsonBody(patch): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    let found = app.collection(&call.principal, &id).await?;
    condition.check(found.version)?;
    let Collection {
        id,
        contract,
        created_at,
        name,
        purposes,
        decision,
        quality_gate,
        retain_crops,
        retention,
        consent,
        training,
        promotion,
        metadata,
        idle_from,
        serving,
        ..
    } = found.value;
    let present = CollectionPatch {
        name,
        purposes,
        decision,
        quality_gate,
        retain_crops,
        retention,
        consent,
        training,
        promotion,
        metadata,
    };
    let merged: CollectionPatch = merge(&present, patch)?;
    let CollectionPatch { name, purposes, decision, quality_gate, retain_crops, retention, .. } = merged;
    let CollectionPatch { consent, training, promotion, metadata, .. } = merged;
    let updated_at = Timestamp::now();
    let changed = Collection {
        id,
        contract,
        created_at,
        updated_at,
        name,
        purposes,
        decision,
        quality_gate,
        retain_crops,
        retention,
        // Matches are noted from now on, where they were not before.
        idle_from: retention.idle_days.map(|_| idle_from.unwrap_or(updated_at)),
        consent,
        training,
        promotion,
        metadata,
        serving,
    };
    check(&changed)?;
    crops::check(&app, retain_crops)?;
    // The patch was made from this version, so it is written over this version only.
    let version = app.collections.update(&call.principal.tenant, &changed, Some(found.version)).await?;
    if retain_crops == RetainCrops::None {
        crops::drop_all(&app, &call, &changed.id).await?;
    }
    Ok(tagged(version, changed))
}

/// Delete a collection
///
/// Erases every subject, face, template, crop and consent in it.
#[utoipa::path(delete, path = "/v1/collections/{collection}", tag = "Collections", security(("bearer" = ["erase"])),
    params(("collection" = CollectionId, Path), ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    responses((status = 204, description = "Erased")),
    extensions(("x-problems" = json!(["collection_not_found", "precondition_failed", "queue_unavailable", "deadline_exceeded"]))))]
async fn remove(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    condition: IfMatch,
) -> Result<StatusCode> {
    let tenant = &call.principal.tenant;
    let erased = async {
        // One that is not there is deleted all the same: that finishes a deletion which broke off.
        let version = match (app.collections.get(tenant, &id).await?, &condition) {
            (Some(found), _) => condition.check(found.version)?,
            (None, IfMatch::Any) => None,
            // Of one made this moment no caller has a tag; no record has this one.
            (None, IfMatch::OneOf(_)) => Some(Revision(0)),
        };
        app.collections.delete(tenant, &id, version).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    confirmed(&app, &call, (&id, Of::Collection), erased.await).await
}

/// How much a collection holds
#[utoipa::path(get, path = "/v1/collections/{collection}/stats", tag = "Collections", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path)), responses((status = 200, body = Stats)),
    extensions(("x-problems" = json!(["collection_not_found"]))))]
async fn stats(State(app): State<App>, call: Call, Ids(id): Ids<CollectionId>) -> Result<Json<Stats>> {
    app.collection(&call.principal, &id).await?;
    let count = app.subjects(&call.principal, &id).count().await?;
    let revision = app.store.revision(&store::Space::collection(&call.principal.tenant, &id)).await?;
    let enrolled = Enrolled::of(&*app.store, &call.principal.tenant).await?;
    let level = app.config.retention.enrolled_warning;
    // What this collection holds at this moment counts as well: the others were counted a while ago.
    let known = enrolled.map_or(0, |e| e.subjects).max(count.subjects as u64);
    let tenant = TenantStats {
        subjects: enrolled.map(|e| e.subjects),
        counted_at: enrolled.map(|e| e.counted_at),
        warning_level: level,
        warning: level > 0 && known >= level,
    };
    Ok(Json(Stats { subjects: count.subjects, faces: count.faces, revision: revision.0, tenant }))
}
