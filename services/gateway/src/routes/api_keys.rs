//! `/v1/api-keys`: credentials of the caller's tenant. A key can only pass on scopes it has. With the scope `tenants`
//! also those of other tenants: a tenant begins with its first key.

mod forms;

use axum::{Json, extract::State, http::StatusCode, response::Response};
use bytes::Bytes;
use domain::{ApiKey, ErrorCode, KeyId, Scope, ScopeSet, TenantId, Timestamp};
use store::Rotation;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::forms::{KeyAnswer, KeyQuery, NewKey, OfTenant, RotateKey, SecretAnswer};
use super::created;
use crate::{
    auth::{self, Credential},
    context::Call,
    edge::StoredAs,
    extract::{Ids, JsonBody, OptionalJson, Page, Search, check_page},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(show, remove)).routes(routes!(rotate))
}

/// The tenant whose keys are meant: the caller's, or the named one if the caller may reach it.
fn tenant_of(call: &Call, named: Option<TenantId>) -> Result<TenantId> {
    match named {
        Some(tenant) if tenant != call.principal.tenant => {
            auth::require(&call.principal, Scope::Tenants)?;
            Ok(tenant)
        }
        _ => Ok(call.principal.tenant.clone()),
    }
}

/// Scopes that the caller may give to a key of `tenant`, or why not.
fn passed_on(call: &Call, tenant: &TenantId, scopes: ScopeSet) -> Result<ScopeSet> {
    let forbidden = |detail: String| ApiProblem::new(ErrorCode::Forbidden, detail);
    let missing: Vec<&str> = scopes.difference(&call.principal.scopes).map(|s| s.as_str()).collect();
    if !missing.is_empty() {
        let detail = format!("the caller cannot pass on scopes it does not have: {}", missing.join(", "));
        return Err(forbidden(detail));
    }
    if *tenant != call.principal.tenant && scopes.contains(&Scope::Tenants) {
        return Err(forbidden("a key of another tenant cannot have the scope tenants".into()));
    }
    Ok(scopes)
}

/// Marks what may be kept for idempotency: the same answer without the secret.
fn without_secret(mut response: Response, key: KeyAnswer) -> Response {
    let kept = serde_json::to_vec(&SecretAnswer { key, secret: None }).unwrap_or_default();
    response.extensions_mut().insert(StoredAs(Bytes::from(kept)));
    response
}

/// Make an API key
///
/// The answer is the only place where its secret is ever shown. The roles' scopes are resolved now.
#[utoipa::path(post, path = "/v1/api-keys", tag = "API keys", security(("bearer" = ["keys"])),
    request_body = NewKey, responses((status = 201, body = SecretAnswer)))]
async fn create(State(app): State<App>, call: Call, JsonBody(new): JsonBody<NewKey>) -> Result<Response> {
    let now = Timestamp::now();
    let scopes = new.checked(now)?;
    let tenant = tenant_of(&call, new.tenant)?;
    let scopes = passed_on(&call, &tenant, scopes)?;
    let credential = Credential::generate(None)?;
    let key = ApiKey {
        name: new.name,
        roles: new.roles,
        cidrs: new.cidrs,
        created_at: now,
        expires_at: new.expires_at,
        ..ApiKey::new(credential.id.clone(), tenant, scopes, credential.hash())
    };
    app.keys.create(&key).await?;
    let shown = KeyAnswer::from(key);
    let location = format!("/v1/api-keys/{}", shown.id);
    let answer = SecretAnswer { key: shown.clone(), secret: Some(credential.shown()) };
    Ok(without_secret(created(&location, None, answer), shown))
}

/// List API keys
#[utoipa::path(get, path = "/v1/api-keys", tag = "API keys", security(("bearer" = ["keys"])),
    params(KeyQuery), responses((status = 200, body = Page<KeyAnswer>)), extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(State(app): State<App>, call: Call, Search(query): Search<KeyQuery>) -> Result<Json<Page<KeyAnswer>>> {
    let (limit, after) = check_page(query.limit, query.cursor.as_deref())?;
    let tenant = tenant_of(&call, query.tenant)?;
    let (found, next) = app.keys.list(&tenant, after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(|k| k.value.into()).collect(), next)))
}

/// The key of the tenant, or 404.
async fn find(app: &App, tenant: &TenantId, id: &KeyId) -> Result<ApiKey> {
    let found = app.keys.get(id).await?.map(|k| k.value).filter(|k| k.tenant == *tenant);
    found.ok_or_else(|| ApiProblem::new(ErrorCode::KeyNotFound, format!("there is no API key {id}")))
}

/// Show an API key
#[utoipa::path(get, path = "/v1/api-keys/{key}", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path), OfTenant), responses((status = 200, body = KeyAnswer)),
    extensions(("x-problems" = json!(["key_not_found"]))))]
async fn show(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<KeyId>,
    Search(of): Search<OfTenant>,
) -> Result<Json<KeyAnswer>> {
    Ok(Json(find(&app, &tenant_of(&call, of.tenant)?, &id).await?.into()))
}

/// Change an API key's secret
///
/// The old secret is refused from now on, or after `grace_seconds`; one that was in its own grace is refused at once.
/// The answer is the only place where the new one is ever shown.
#[utoipa::path(post, path = "/v1/api-keys/{key}/rotate", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path), OfTenant), request_body = Option<RotateKey>,
    responses((status = 200, body = SecretAnswer)), extensions(("x-problems" = json!(["key_not_found"]))))]
async fn rotate(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<KeyId>,
    Search(of): Search<OfTenant>,
    OptionalJson(how): OptionalJson<RotateKey>,
) -> Result<Response> {
    let (tenant, grace) = (tenant_of(&call, of.tenant)?, how.grace()?);
    let present = find(&app, &tenant, &id).await?;
    // Whoever rotates a key holds it: that must not be a way to more scopes.
    for scope in &present.scopes {
        auth::require(&call.principal, *scope)?;
    }
    let credential = Credential::generate(Some(id.clone()))?;
    let rotation = Rotation { secret_sha256: credential.hash(), now: Timestamp::now(), grace };
    let key = app.keys.rotate(&tenant, &id, rotation).await?.value;
    let shown = KeyAnswer::from(key);
    let answer = SecretAnswer { key: shown.clone(), secret: Some(credential.shown()) };
    Ok(without_secret(axum::response::IntoResponse::into_response(Json(answer)), shown))
}

/// Delete an API key
///
/// It is refused from now on, on every gateway.
#[utoipa::path(delete, path = "/v1/api-keys/{key}", tag = "API keys", security(("bearer" = ["keys"])),
    params(("key" = KeyId, Path), OfTenant), responses((status = 204, description = "Deleted")),
    extensions(("x-problems" = json!(["key_not_found"]))))]
async fn remove(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<KeyId>,
    Search(of): Search<OfTenant>,
) -> Result<StatusCode> {
    app.keys.delete(&tenant_of(&call, of.tenant)?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
