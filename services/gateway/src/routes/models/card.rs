//! `/v1/models/{id}/card` and what belongs to it: everything that is known about a model, what the gate found as a page for
//! people, and whom a promotion leaves behind.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use domain::{CollectionId, ErrorCode, ModelId, SubjectId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ModelReport, Templates};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ModelAnswer, find, records};
use crate::{
    context::Call,
    extract::{Ids, Page, Search, check_page},
    problem::{ApiProblem, Result},
    state::App,
};

/// Faces looked at for one page of those left behind.
const LOOKED_AT: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(card)).routes(routes!(report)).routes(routes!(left_behind))
}

/// Everything that is known about a model.
#[derive(Serialize, ToSchema)]
struct ModelCard {
    /// The model.
    model: ModelAnswer,
    /// For people.
    description: String,
    /// Licence of its weights.
    licence: String,
    /// Whether that allows commercial use.
    commercial: bool,
    /// What it is fed, and how faces are brought to it.
    #[schema(value_type = Object)]
    input: Value,
    /// Values of an embedding.
    dimensions: usize,
    /// What it was made with, as its maker tells it.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    lineage: Value,
    /// What the gate found, by collection.
    evaluations: Vec<Evaluation>,
}

/// What the gate found.
#[derive(Serialize, ToSchema)]
struct Evaluation {
    /// For which collection.
    collection_id: CollectionId,
    /// When.
    at: Timestamp,
    /// Whether the model passed.
    passed: bool,
    /// The report: measures of both models with intervals, the reasons, what was asked.
    #[schema(value_type = Object)]
    report: Value,
}

/// Show a model's card
#[utoipa::path(get, path = "/v1/models/{model}/card", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path)), responses((status = 200, body = ModelCard)),
    extensions(("x-problems" = json!(["model_not_found"]))))]
async fn card(State(app): State<App>, call: Call, Ids(id): Ids<ModelId>) -> Result<Json<ModelCard>> {
    let record = find(&app, &call, &id).await?.value;
    let damaged = |e: String| {
        tracing::error!(model = %id, error = e, "a manifest");
        ApiProblem::new(ErrorCode::Internal, "the model's manifest cannot be read; the log holds the details")
    };
    let manifest = registry::manifest_of(&record).map_err(|e| damaged(e.to_string()))?;
    let mut evaluations = Vec::new();
    for collection in &record.collections {
        if let Some(ModelReport { at, passed, document, .. }) = records(&app, &call).report(&id, collection).await? {
            evaluations.push(Evaluation { collection_id: collection.clone(), at, passed, report: document });
        }
    }
    let embedder = manifest.embedder();
    let input = serde_json::json!({
        "normalisation": manifest.input.normalisation(),
        "alignment": embedder.map(|e| e.alignment.as_str()),
    });
    Ok(Json(ModelCard {
        model: ModelAnswer::of(&app, &call.principal.tenant, &record).await?,
        description: manifest.description.clone(),
        licence: manifest.licence.clone(),
        commercial: manifest.commercial,
        input,
        dimensions: embedder.map_or(0, |e| e.dim),
        lineage: record.lineage,
        evaluations,
    }))
}

/// Which collection's.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfCollection {
    /// Which collection's.
    #[param(value_type = String)]
    collection_id: CollectionId,
}

/// Show what the gate found
///
/// A page for people.
#[utoipa::path(get, path = "/v1/models/{model}/report.html", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), OfCollection),
    responses((status = 200, content_type = "text/html", body = String, description = "The page")),
    extensions(("x-problems" = json!(["model_not_found", "not_found"]))))]
async fn report(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<ModelId>,
    Search(of): Search<OfCollection>,
) -> Result<Response> {
    find(&app, &call, &id).await?;
    let found = records(&app, &call).report(&id, &of.collection_id).await?;
    let none = || ApiProblem::new(ErrorCode::NotFound, "the gate has not looked at this model for this collection");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
        ),
    ];
    Ok((headers, found.ok_or_else(none)?.page).into_response())
}

/// Which part of whom.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LeftQuery {
    /// Which collection's.
    #[param(value_type = String)]
    collection_id: CollectionId,
    /// Most subjects to return, 1 to 100; 50 unless said. A page may have fewer, and none, and not be the last.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// A subject that the model cannot find.
#[derive(Serialize, ToSchema)]
struct LeftBehind {
    /// Which.
    subject_id: SubjectId,
}

/// List whom a model cannot find
///
/// Subjects of a collection with an enrolled face that has no template of this model. During a promotion those whose turn
/// is yet to come are among them; after it, those without a retained crop.
#[utoipa::path(get, path = "/v1/models/{model}/left-behind", tag = "Models", security(("bearer" = ["models"])),
    params(("model" = ModelId, Path), LeftQuery), responses((status = 200, body = Page<LeftBehind>)),
    extensions(("x-problems" = json!(["model_not_found", "collection_not_found", "invalid_cursor"]))))]
async fn left_behind(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<ModelId>,
    Search(query): Search<LeftQuery>,
) -> Result<Json<Page<LeftBehind>>> {
    let (limit, mut after) = check_page(query.limit, query.cursor.as_deref())?;
    let record = find(&app, &call, &id).await?.value;
    app.collection(&call.principal, &query.collection_id).await?;
    let templates = Templates::new(app.store.clone(), &call.principal.tenant, &query.collection_id);
    let (rows, more) = templates.scan_templates(after.as_deref(), LOOKED_AT).await?;
    let (mut handles, mut next) = (BTreeSet::new(), more);
    for row in rows {
        let left = row.templates.of(record.contract).is_none();
        if left && handles.len() >= limit && !handles.contains(&row.handle) {
            next = true;
            break;
        }
        if left {
            handles.insert(row.handle);
        }
        after = Some(row.key);
    }
    let mut items = Vec::new();
    for handle in handles {
        if let Some(subject) = templates.subject_by_handle(handle).await? {
            items.push(LeftBehind { subject_id: subject.id });
        }
    }
    Ok(Json(Page::new(items, after.filter(|_| next))))
}
