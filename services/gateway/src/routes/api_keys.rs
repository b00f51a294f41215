//! `/v1/api-keys`: credentials of the caller's tenant. A key can only pass on scopes it has.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use bytes::Bytes;
use domain::{ApiKey, ErrorCode, KeyId, Problem, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::created;
use crate::{
    auth::{self, Credential},
    context::Call,
    edge::StoredAs,
    extract::{Ids, JsonBody, Page, PageQuery, Search},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, remove)).routes(routes!(rotate))
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    /// For people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// What it may do: scopes that the calling key has too.
    scopes: BTreeSet<Scope>,
    /// When it ends; never unless said.
    expires_at: Option<Timestamp>,
}

/// A key as it is shown; never its secret.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ApiKey)]
struct KeyAnswer {
    /// The public half.
    id: KeyId,
    /// For people.
    name: String,
    /// What it may do.
    scopes: BTreeSet<Scope>,
    /// When it was made.
    created_at: Timestamp,
    /// When its secret was last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated_at: Option<Timestamp>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
struct SecretAnswer {
    /// The key.
    #[serde(flatten)]
    key: KeyAnswer,
    /// `vv_<id>_<secret>`, shown this once. A repetition under the same idempotency key does not show it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<ApiKey> for KeyAnswer {
    fn from(k: ApiKey) -> Self {
        let ApiKey { id, name, scopes, created_at, rotated_at, expires_at, .. } = k;
        Self { id, name, scopes, created_at, rotated_at, expires_at }
    }
}

/// Marks what may be kept for idempotency: the same answer without the secret.
fn without_secret(mut response: Response, key: KeyAnswer) -> Response {
    let kept = serde_json::to_vec(&SecretAnswer { key, secret: None }).unwrap_or_default();
    response.extensions_mut().insert(StoredAs(Bytes::from(kept)));
    response
}

/// Make an API key
///
/// The answer is the only place where its secret is ever shown.
#[utoipa::path(post, path = "/v1/api-keys", tag = "API keys", security(("bearer" = ["keys"])),
    request_body = NewKey, responses((status = 201, body = SecretAnswer)))]
async fn create(State(app): State<App>, call: Call, JsonBody(new): JsonBody<NewKey>) -> Result<Response> {
    let now = Timestamp::now();
    if new.name.trim().is_empty() || new.name.len() > 200 {
        return Err(Problem::invalid("/name", "has 1 to 200 bytes").into());
    }
    if new.scopes.is_empty() {
        return Err(Problem::invalid("/scopes", "name at least one scope").into());
    }
    if new.expires_at.is_some_and(|t| t <= now) {
        return Err(Problem::invalid("/expires_at", "lies in the past").into());
    }
    let missing: Vec<&str> = new.scopes.difference(&call.principal.scopes).map(|s| s.as_str()).collect();
    if !missing.is_empty() {
        let detail = format!("the calling key cannot pass on scopes it does not have: {}", missing.join(", "));
        return Err(ApiProblem::new(ErrorCode::Forbidden, detail));
    }
    let credential = Credential::generate(None)?;
    let key = ApiKey {
        id: credential.id.clone(),
        tenant: call.principal.tenant,
        name: new.name,
        scopes: new.scopes,
        secret_sha256: credential.hash(),
        created_at: now,
        rotated_at: None,
        expires_at: new.expires_at,
    };
    app.keys.create(&key).await?;
    let shown = KeyAnswer::from(key);
    let location = format!("/v1/api-keys/{}", shown.id);
    let answer = SecretAnswer { key: shown.clone(), secret: Some(credential.shown()) };
    Ok(without_secret(created(&location, None, answer), shown))
}

/// List API keys
#[utoipa::path(get, path = "/v1/api-keys", tag = "API keys", security(("bearer" = ["keys"])),
    params(PageQuery), responses((status = 200, body = Page<KeyAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(page): Search<PageQuery>) -> Result<Json<Page<KeyAnswer>>> {
    let (limit, after) = page.checked()?;
    let (found, next) = app.keys.list(&call.principal.tenant, after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(|k| k.value.into()).collect(), next)))
}

/// The key of the caller's tenant, or 404.
async fn find(app: &App, call: &Call, id: &KeyId) -> Result<ApiKey> {
    let found = app.keys.get(id).await?.map(|k| k.value).filter(|k| k.tenant == call.principal.tenant);
    found.ok_or_else(|| ApiProblem::new(ErrorCode::KeyNotFound, format!("there is no API key {id}")))
}

/// Show an API key
#[utoipa::path(get, path = "/v1/api-keys/{key}", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path)), responses((status = 200, body = KeyAnswer)),
    extensions(("x-problems" = json!(["key_not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<KeyId>) -> Result<Json<KeyAnswer>> {
    Ok(Json(find(&app, &call, &id).await?.into()))
}

/// Change an API key's secret
///
/// The old secret is refused from now on. The answer is the only place where the new one is ever shown.
#[utoipa::path(post, path = "/v1/api-keys/{key}/rotate", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path)), responses((status = 200, body = SecretAnswer)),
    extensions(("x-problems" = json!(["key_not_found"]))))]
async fn rotate(State(app): State<App>, call: Call, Ids(id): Ids<KeyId>) -> Result<Response> {
    let present = find(&app, &call, &id).await?;
    // Whoever rotates a key holds it: that must not be a way to more scopes.
    for scope in &present.scopes {
        auth::require(&call.principal, *scope)?;
    }
    let credential = Credential::generate(Some(id.clone()))?;
    let key = app.keys.rotate(&call.principal.tenant, &id, credential.hash(), Timestamp::now()).await?.value;
    let shown = KeyAnswer::from(key);
    let answer = SecretAnswer { key: shown.clone(), secret: Some(credential.shown()) };
    Ok(without_secret(axum::response::IntoResponse::into_response(Json(answer)), shown))
}

/// Delete an API key
///
/// It is refused from now on, on every gateway.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path)), responses((status = 204, description = "Deleted")),
    extensions(("x-problems" = json!(["key_not_found"]))))]
async fn remove(State(app): State<App>, call: Call, Ids(id): Ids<KeyId>) -> Result<StatusCode> {
    app.keys.delete(&call.principal.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
