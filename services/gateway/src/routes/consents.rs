//! `/v1/consents`: recording, listing and withdrawing consents.

use axum::{Json, extract::State, response::Response};
use domain::{CollectionId, Consent, ConsentDraft, ConsentId, ConsentStatus, ErrorCode, Problem, SubjectId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Reach;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::created;
use crate::{
    context::Call,
    erasure::{Of, confirmed},
    extract::{Ids, JsonBody, Page, Search, check_page, from_value},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(record, list)).routes(routes!(show)).routes(routes!(withdraw))
}

/// A consent to be recorded.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
struct NewConsent {
    /// Where it holds.
    collection_id: CollectionId,
    /// Whose it is; the subject need not be enrolled yet.
    subject_id: SubjectId,
    /// What was agreed to.
    #[serde(flatten)]
    draft: ConsentDraft,
}

/// A consent and where it stands.
#[derive(Serialize, ToSchema)]
struct ConsentAnswer {
    /// The consent.
    #[serde(flatten)]
    consent: Consent,
    /// Where it stands now.
    status: ConsentStatus,
}

/// What a withdrawal did.
#[derive(Serialize, ToSchema)]
struct WithdrawAnswer {
    /// The consent, withdrawn.
    #[serde(flatten)]
    consent: ConsentAnswer,
    /// Faces erased with their templates.
    faces_erased: usize,
}

impl From<Consent> for ConsentAnswer {
    fn from(consent: Consent) -> Self {
        Self { status: consent.status(Timestamp::now()), consent }
    }
}

/// Which consents.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ConsentQuery {
    /// Most items to return, 1 to 100; 50 unless said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only of this collection's subject; goes with `subject_id`.
    collection_id: Option<CollectionId>,
    /// Only of this subject; goes with `collection_id`.
    subject_id: Option<SubjectId>,
}

/// Record a consent
#[utoipa::path(post, path = "/v1/consents", tag = "Consents", security(("bearer" = ["consents"])),
    request_body = NewConsent, responses((status = 201, body = ConsentAnswer)),
    extensions(("x-problems" = json!(["collection_not_found"]))))]
async fn record(
    State(app): State<App>,
    call: Call,
    JsonBody(mut body): JsonBody<Map<String, Value>>,
) -> Result<Response> {
    // Flattening would lose the refusal of unknown fields, so the two ids are taken out first.
    let mut id = |name: &str| body.remove(name).ok_or_else(|| Problem::invalid(format!("/{name}"), "is missing"));
    let (collection, subject) = (id("collection_id")?, id("subject_id")?);
    let at = |pointer: &'static str| {
        move |p: Problem| Problem::invalid(pointer, p.errors.first().map_or(p.detail.clone(), |e| e.detail.clone()))
    };
    let collection: CollectionId = from_value(collection).map_err(at("/collection_id"))?;
    let subject: SubjectId = from_value(subject).map_err(at("/subject_id"))?;
    let (draft, now) = (from_value::<ConsentDraft>(Value::Object(body))?, Timestamp::now());
    let policy = app.collection(&call.principal, &collection).await?.value.consent;
    draft.check("", &policy, now)?;
    let consent = draft.record(collection, subject, now);
    call.notes.collection(&consent.collection_id);
    call.notes.subject(&consent.subject_id);
    call.notes.reference(&consent.id);
    app.consents(&call.principal).record(&consent).await?;
    Ok(created(&format!("/v1/consents/{}", consent.id), None, ConsentAnswer::from(consent)))
}

/// List consents
///
/// Oldest first; with `collection_id` and `subject_id`, those of one subject.
#[utoipa::path(get, path = "/v1/consents", tag = "Consents", security(("bearer" = ["consents"])),
    params(ConsentQuery), responses((status = 200, body = Page<ConsentAnswer>)),
    extensions(("x-problems" = json!(["invalid_cursor"]))))]
async fn list(
    State(app): State<App>,
    call: Call,
    Search(query): Search<ConsentQuery>,
) -> Result<Json<Page<ConsentAnswer>>> {
    let (limit, after) = check_page(query.limit, query.cursor.as_deref())?;
    let (found, next) = match (query.collection_id, query.subject_id) {
        (None, None) => app.consents(&call.principal).list(after.as_deref(), limit).await?,
        (Some(c), Some(s)) => {
            let all = app.subjects(&call.principal, &c).consents(&s).await?.into_iter();
            let mut rest: Vec<_> = all.filter(|r| after.as_deref().is_none_or(|a| r.value.id.as_str() > a)).collect();
            let more = rest.len() > limit;
            rest.truncate(limit);
            let next = rest.last().filter(|_| more).map(|r| r.value.id.to_string());
            (rest, next)
        }
        _ => return Err(Problem::invalid("subject_id", "give collection_id and subject_id together").into()),
    };
    Ok(Json(Page::new(found.into_iter().map(|c| c.value.into()).collect(), next)))
}

/// Show a consent
#[utoipa::path(get, path = "/v1/consents/{consent}", tag = "Consents", security(("bearer" = ["consents"])),
    params(("consent" = ConsentId, Path)), responses((status = 200, body = ConsentAnswer)),
    extensions(("x-problems" = json!(["consent_not_found"]))))]
async fn show(State(app): State<App>, call: Call, Ids(id): Ids<ConsentId>) -> Result<Json<ConsentAnswer>> {
    let found = app.consents(&call.principal).get(&id).await?;
    let found =
        found.ok_or_else(|| ApiProblem::new(ErrorCode::ConsentNotFound, format!("there is no consent {id}")))?;
    Ok(Json(found.value.into()))
}

/// Withdraw a consent
///
/// The subject's faces and templates are erased with it, unless another consent in force covers one of the collection's
/// purposes: then it is matched for those alone from now on. Withdrawing twice changes nothing.
#[utoipa::path(post, path = "/v1/consents/{consent}/withdraw", tag = "Consents", security(("bearer" = ["consents"])),
    params(("consent" = ConsentId, Path)), responses((status = 200, body = WithdrawAnswer)),
    extensions(("x-problems" = json!(["consent_not_found", "queue_unavailable", "deadline_exceeded"]))))]
async fn withdraw(State(app): State<App>, call: Call, Ids(id): Ids<ConsentId>) -> Result<Json<WithdrawAnswer>> {
    let done = app.consents(&call.principal).withdraw(&id, Timestamp::now()).await?;
    let consent = &done.consent.value;
    let (collection, subject) = (&consent.collection_id, &consent.subject_id);
    call.notes.collection(collection);
    call.notes.subject(subject);
    // Also when no face went: an earlier request may have erased them and not seen it confirmed.
    let bare = app.subjects(&call.principal, collection).faces(subject).await?.is_empty();
    let of = if bare { Of::Subject(subject, Reach::Kept) } else { Of::Nobody };
    confirmed(&app, &call, (collection, of), Ok(())).await?;
    Ok(Json(WithdrawAnswer { consent: done.consent.value.into(), faces_erased: done.faces_erased }))
}
