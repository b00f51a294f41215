//! `/v1/models`: embedders beside the deployment's own. Registering one changes nothing; promoting it holds it against the
//! model that answers for a collection and, where it passes, puts it in its place; a rollback is one write.

mod answers;
mod card;
mod form;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{CollectionId, ContractId, ErrorCode, ModelId};
use registry::{NewModel, Registry, RegistryError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ModelOrigin, ModelRecord, Models, Versioned};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{GateRequest, envelope::Request};

use self::{
    answers::ModelAnswer,
    form::{ModelForm, ModelUpload},
};
use super::{created, jobs::JobAnswer, tagged};
use crate::{
    context::{Call, Prefer},
    dispatch::carry_out_as,
    extract::{Ids, IfMatch, JsonBody, Page, PageQuery, Search},
    fleet,
    problem::{ApiProblem, Result},
    promotions::{Change, change},
    state::{App, AppState},
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, register))
        .routes(routes!(show, remove))
        .routes(routes!(promote))
        .routes(routes!(rollback))
        .routes(routes!(retire))
        .merge(card::routes())
}

/// For which collection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct InCollection {
    /// Which.
    collection_id: CollectionId,
}

/// What a promotion is answered with: where the model stands now, or the job, where the gate takes longer than the caller
/// waits.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the job's form is written by the dispatcher; here it is for the document")]
enum PromoteAnswer {
    /// It has passed.
    Model(ModelAnswer),
    /// It is being looked at.
    Job(Box<JobAnswer>),
}

/// List models
///
/// The deployment's own first, on the first page, then registered ones in the order in which they came.
#[utoipa::path(get, path = "/v1/models", tag = "Models", security(("bearer" = ["models"])),
    params(PageQuery), responses((status = 200, body = Page<ModelAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(page): Search<PageQuery>) -> Result<Json<Page<ModelAnswer>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = records(&app, &call).list(after.as_deref(), limit).await?;
    let mut items = if after.is_none() { built_in(&app) } else { Vec::new() };
    for record in found {
        items.push(ModelAnswer::of(&app, &call.principal.tenant, &record.value).await?);
    }
    Ok(Json(Page::new(items, next)))
}

/// Register a model
///
/// An embedder as an ONNX file with its manifest. It is checked and kept, sealed, and serves nobody before it is promoted.
/// Its faces are aligned as those of the deployment's own model.
#[utoipa::path(post, path = "/v1/models", tag = "Models", security(("bearer" = ["models"])),
    request_body(content = ModelForm, content_type = "multipart/form-data"), responses((status = 201, body = ModelAnswer)))]
async fn register(State(app): State<App>, call: Call, upload: ModelUpload) -> Result<Response> {
    let registry = registry(&app)?;
    let ModelUpload { id, manifest, model } = upload;
    let new = NewModel {
        id: id.unwrap_or_else(|| call.fresh(ModelId::generate)),
        onnx: model,
        manifest,
        parent: None,
        origin: ModelOrigin::Upload,
        lineage: Value::Null,
        by: call.principal.key.to_string(),
    };
    if own_contracts(&app).any(|(name, _)| name == new.id.as_str()) {
        return Err(ApiProblem::new(ErrorCode::Conflict, "a model of the deployment has this name"));
    }
    call.notes.reference(&new.id);
    let made = registry.register(&call.principal.tenant, new).await.map_err(refused)?;
    let answer = ModelAnswer::of(&app, &call.principal.tenant, &made.value).await?;
    Ok(created(&format!("/v1/models/{}", made.value.id), Some(made.version), answer))
}

/// Show a model
///
/// With where it stands in each collection it has to do with, and how far a promotion has come.
#[utoipa::path(get, path = "/v1/models/{model}", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path)), responses((status = 200, body = ModelAnswer)),
    extensions(("x-problems" = json!(["model_not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<ModelId>) -> Result<Response> {
    if let Some(own) = built_in(&app).into_iter().find(|m| m.id == id) {
        return Ok(Json(own).into_response());
    }
    let found = find(&app, &call, &id).await?;
    let answer = ModelAnswer::of(&app, &call.principal.tenant, &found.value).await?;
    Ok(tagged(found.version, answer).into_response())
}

/// Delete a model
///
/// Its file, its record and what the gate found. Not while a collection uses it or keeps it to come back.
#[utoipa::path(delete, path = "/v1/models/{model}", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    responses((status = 204, description = "Deleted")),
    extensions(("x-problems" = json!(["model_not_found", "precondition_failed"]))))]
async fn remove(State(app): State<App>, call: Call, Ids(id): Ids<ModelId>, condition: IfMatch) -> Result<StatusCode> {
    let (tenant, found) = (&call.principal.tenant, find(&app, &call, &id).await?);
    let version = condition.check(found.version)?;
    let answer = ModelAnswer::of(&app, tenant, &found.value).await?;
    if let Some(place) = answer.collections.iter().find(|p| p.state.is_in_use()) {
        let detail = format!("collection {} uses the model or keeps it to come back", place.collection_id);
        return Err(ApiProblem::new(ErrorCode::Conflict, detail));
    }
    registry(&app)?.delete(tenant, &id, version).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Promote a model
///
/// Holds the model against the one that answers for the collection, on people whose consent allows training and whose crops
/// are retained. One that does not pass is refused with `gate_failed`; the report is on its card. One that passes is
/// prepared beside the other: every face with a retained crop is embedded anew, who is enrolled meanwhile is embedded by
/// both, and one write puts the model in the other's place. Nobody notices but by `model_version`. Faces without a retained
/// crop stay behind, or keep it from being promoted, as the collection's `promotion.without_crops` says. Promoting again
/// one that is being prepared sends for it anew.
#[utoipa::path(post, path = "/v1/models/{model}/promote", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), ("if-match" = Option<String>, Header, description = "Only if the collection's entity tag is this one")),
    request_body = InCollection,
    responses((status = 202, body = PromoteAnswer, description = "It has passed and is being prepared, or the gate takes longer: `location` says where to look")),
    extensions(("x-problems" = json!(["collection_not_found", "model_not_found", "gate_failed", "precondition_failed", "model_not_ready", "queue_unavailable"]))))]
async fn promote(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<ModelId>,
    condition: IfMatch,
    JsonBody(body): JsonBody<InCollection>,
) -> Result<Response> {
    registry(&app)?;
    let record = find(&app, &call, &id).await?;
    let collection = app.collection(&call.principal, &body.collection_id).await?;
    condition.check(collection.version)?;
    let request = GateRequest { collection_id: body.collection_id.to_string(), model_id: id.to_string() };
    // Whoever says nothing waits as long as for any answer, and is told the job after that.
    let wait = call.prefer.wait.or((!call.prefer.respond_async).then_some(app.config.times.deadline));
    let patient = Call { prefer: Prefer { wait, ..call.prefer }, ..call.clone() };
    let passed = |answer| Ok((StatusCode::ACCEPTED, Json::<crate::answers::Answer>(answer)).into_response());
    let response = carry_out_as(&app, &patient, Request::Gate(request), passed).await?;
    if response.status() != StatusCode::ACCEPTED || response.headers().contains_key(header::LOCATION) {
        return Ok(response);
    }
    call.notes.reference(&id);
    let answer = ModelAnswer::of(&app, &call.principal.tenant, &with(record.value, &body.collection_id)).await?;
    let mut response = (StatusCode::ACCEPTED, Json(PromoteAnswer::Model(answer))).into_response();
    if let Ok(v) = HeaderValue::from_str(&format!("/v1/models/{id}")) {
        response.headers_mut().insert(header::LOCATION, v);
    }
    Ok(response)
}

/// Roll a model back
///
/// The model that it replaced answers for the collection again, at once: its templates have been kept, and written for
/// everybody enrolled since. The other is kept in turn. A model that is still being prepared is given up.
#[utoipa::path(post, path = "/v1/models/{model}/rollback", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), ("if-match" = Option<String>, Header, description = "Only if the collection's entity tag is this one")),
    request_body = InCollection, responses((status = 200, body = ModelAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "model_not_found", "precondition_failed", "queue_unavailable"]))))]
async fn rollback(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<ModelId>,
    condition: IfMatch,
    JsonBody(body): JsonBody<InCollection>,
) -> Result<Json<ModelAnswer>> {
    changed(&app, &call, (&id, &body.collection_id), (Change::RollBack, condition)).await
}

/// Retire a replaced model
///
/// It cannot come back to the collection at once any more, and its templates go. Happens by itself after the collection's
/// `promotion.keep_days`.
#[utoipa::path(post, path = "/v1/models/{model}/retire", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), ("if-match" = Option<String>, Header, description = "Only if the collection's entity tag is this one")),
    request_body = InCollection, responses((status = 200, body = ModelAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "model_not_found", "precondition_failed", "queue_unavailable"]))))]
async fn retire(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<ModelId>,
    condition: IfMatch,
    JsonBody(body): JsonBody<InCollection>,
) -> Result<Json<ModelAnswer>> {
    changed(&app, &call, (&id, &body.collection_id), (Change::Retire, condition)).await
}

async fn changed(
    app: &App,
    call: &Call,
    (id, collection): (&ModelId, &CollectionId),
    (what, condition): (Change, IfMatch),
) -> Result<Json<ModelAnswer>> {
    let tenant = &call.principal.tenant;
    call.notes.collection(collection);
    let own = own_contracts(app).find(|(name, _)| *name == id.as_str()).map(|(_, contract)| contract);
    let record = if own.is_some() { None } else { Some(find(app, call, id).await?.value) };
    let present = app.collection(&call.principal, collection).await?;
    let version = condition.check(present.version)?;
    let missing = || ApiProblem::new(ErrorCode::ModelNotFound, format!("there is no model {id}"));
    let contract = own.or(record.as_ref().map(|r| r.contract)).ok_or_else(missing)?;
    let about = (record.as_ref().map(|r| r.id.clone()), contract);
    change(app, (tenant, collection), about, what, version).await?;
    Ok(Json(match record {
        Some(record) => ModelAnswer::of(app, tenant, &with(record, collection)).await?,
        None => built_in(app).into_iter().find(|m| m.id == *id).ok_or_else(missing)?,
    }))
}

/// The record with a collection that it has to do with by now.
fn with(mut record: ModelRecord, collection: &CollectionId) -> ModelRecord {
    record.collections.insert(collection.clone());
    record
}

fn records(app: &AppState, call: &Call) -> Models {
    Models::new(app.store.clone(), &call.principal.tenant)
}

async fn find(app: &App, call: &Call, id: &ModelId) -> Result<Versioned<ModelRecord>> {
    let found = records(app, call).get(id).await?;
    found.ok_or_else(|| ApiProblem::new(ErrorCode::ModelNotFound, format!("there is no model {id}")))
}

fn registry(app: &AppState) -> Result<&Registry> {
    let detail = "this service keeps no files, so it can register no models: see objects.url";
    app.models.as_ref().ok_or_else(|| ApiProblem::new(ErrorCode::ModelNotReady, detail))
}

/// Names and contracts of the embedders that the ready workers brought along.
fn own_contracts(app: &AppState) -> impl Iterator<Item = (String, ContractId)> + use<> {
    let workers = app.fleet.seen();
    let own: Vec<(String, ContractId)> = fleet::ready(&workers)
        .flat_map(|w| w.models.iter().filter(|m| m.contract == w.contract))
        .filter_map(|m| Some((m.name.clone(), m.contract.parse().ok()?)))
        .collect();
    own.into_iter()
}

/// The embedders that the ready workers brought along, each once.
fn built_in(app: &AppState) -> Vec<ModelAnswer> {
    let workers = app.fleet.seen();
    let mut found: Vec<ModelAnswer> = Vec::new();
    for worker in fleet::ready(&workers) {
        for model in worker.models.iter().filter(|m| m.contract == worker.contract && !m.contract.is_empty()) {
            if let Some(answer) = ModelAnswer::built_in(model).filter(|a| found.iter().all(|f| f.id != a.id)) {
                found.push(answer);
            }
        }
    }
    found
}

fn refused(e: RegistryError) -> ApiProblem {
    match e {
        RegistryError::Store(e) => e.into(),
        RegistryError::Unfit(why) => domain::Problem::invalid("model", why).into(),
        other => ApiProblem::new(other.code(), other.to_string()),
    }
}
