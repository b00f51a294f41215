//! `/v1/collections/{c}/subjects`: enrolling, showing, changing and deleting persons.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{CollectionId, EnrolledFace, ErrorCode, Metadata, Subject, SubjectId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Lookup, Reach, Subjects, Versioned};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::envelope::Request;

use super::{
    created,
    enrol::{EnrolParams, check, consent, on_record},
    parameters::{FormImages, JsonImages},
    patch::merge,
    tagged,
};
use crate::{
    answers::{Answer, EnrolAnswer},
    context::Call,
    dispatch::carry_out_as,
    erasure::{Of, confirmed},
    extract::{Ids, IfMatch, Images, JsonBody, Page, PageQuery, Search},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(enrol, list)).routes(routes!(show, change, remove))
}

/// What of a subject can be changed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SubjectPatch {
    /// The caller's own reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// The caller's own labels.
    #[serde(default)]
    metadata: Metadata,
}

/// A subject and its faces.
#[derive(Serialize, ToSchema)]
struct SubjectAnswer {
    /// The subject.
    #[serde(flatten)]
    subject: Subject,
    /// Its enrolled faces, oldest first.
    faces: Vec<EnrolledFace>,
}

/// The subject, or 404 or 410.
pub(super) async fn find(subjects: &Subjects, id: &SubjectId) -> Result<Versioned<Subject>> {
    match subjects.get(id).await? {
        Lookup::Found(found) => Ok(found),
        Lookup::Erased(at) => Err(ApiProblem::new(ErrorCode::Erased, format!("subject {id} was erased at {at}"))),
        Lookup::Absent => Err(ApiProblem::new(ErrorCode::SubjectNotFound, format!("there is no subject {id} here"))),
    }
}

/// Enrol a subject
///
/// One face per image is enrolled; an image that cannot be is told in `rejected_images` with its reason. If every
/// image is rejected nothing is stored and the answer is the first one's problem. Without images a subject without
/// faces is made.
#[utoipa::path(post, path = "/v1/collections/{collection}/subjects", tag = "Subjects", security(("bearer" = ["subjects:write"])),
    params(("collection" = CollectionId, Path)),
    request_body(content((JsonImages<EnrolParams> = "application/json"), (FormImages<EnrolParams> = "multipart/form-data"))),
    responses((status = 201, body = EnrolAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "consent_required", "no_face", "multiple_faces", "low_quality", "spoof_suspected", "collection_model_mismatch"]))))]
async fn enrol(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    images: Images<EnrolParams>,
) -> Result<Response> {
    let (images, mut params) = images.into_wire();
    let (subjects, draft) = (app.subjects(&call.principal, &id), params.consent.take());
    let (collection_id, id) = (id, params.id.take().unwrap_or_else(|| call.fresh(SubjectId::generate)));
    call.notes.subject(&id);
    // Neither needs the other; what is missing is told in this order.
    let (collection, there, on_record) = tokio::join!(
        app.collection(&call.principal, &collection_id),
        subjects.get(&id),
        on_record(&subjects, &id, draft.as_ref()),
    );
    let collection = collection?.value;
    params.check()?;
    // A repeated request whose job has been done finds its reply through the worker; any other clash ends here.
    if matches!(there?, Lookup::Found(_)) && subjects.done(&id, &call.job).await?.is_none() {
        return Err(ApiProblem::new(ErrorCode::Conflict, format!("a subject {id} exists already in this collection")));
    }
    let consent = consent(&collection, &id, draft, &on_record?)?;
    let job = params.enrolment(id, consent, images).request(&collection);
    carry_out_as(&app, &call, Request::Enrol(job), |answer| match answer {
        Answer::Enrol(e) => {
            let location = format!("/v1/collections/{}/subjects/{}", collection.id, e.subject.id);
            Ok(created(&location, None, e))
        }
        _ => Err(ApiProblem::new(ErrorCode::Internal, "a worker answered another question")),
    })
    .await
}

/// List subjects
///
/// In an order that says nothing about them.
#[utoipa::path(get, path = "/v1/collections/{collection}/subjects", tag = "Subjects", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path), PageQuery), responses((status = 200, body = Page<Subject>)),
    extensions(("x-problems" = json!(["collection_not_found", "invalid_cursor"]))))]
async fn list(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    Search(page): Search<PageQuery>,
) -> Result<Json<Page<Subject>>> {
    app.collection(&call.principal, &id).await?;
    let (limit, after) = page.checked()?;
    let (found, next) = app.subjects(&call.principal, &id).list(after.as_deref(), limit).await?;
    Ok(Json(Page::new(found.into_iter().map(|s| s.value).collect(), next)))
}

/// Show a subject
#[utoipa::path(get, path = "/v1/collections/{collection}/subjects/{subject}", tag = "Subjects", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path)), responses((status = 200, body = SubjectAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "erased"]))))]
async fn show(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
) -> Result<impl IntoResponse> {
    app.collection(&call.principal, &collection).await?;
    let subjects = app.subjects(&call.principal, &collection);
    let found = find(&subjects, &id).await?;
    let faces = subjects.faces(&id).await?.into_iter().map(|f| f.value).collect();
    Ok(tagged(found.version, SubjectAnswer { subject: found.value, faces }))
}

/// Change a subject
///
/// A JSON merge patch of `external_id` and `metadata`.
#[utoipa::path(patch, path = "/v1/collections/{collection}/subjects/{subject}", tag = "Subjects", security(("bearer" = ["subjects:write"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path),
        ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    request_body(content((SubjectPatch = "application/merge-patch+json"), (SubjectPatch = "application/json"))),
    responses((status = 200, body = Subject)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "erased", "precondition_failed"]))))]
async fn change(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
    condition: IfMatch,
    JsonBody(patch): JsonBody<Value>,
) -> Result<impl IntoResponse> {
    app.collection(&call.principal, &collection).await?;
    let subjects = app.subjects(&call.principal, &collection);
    let found = find(&subjects, &id).await?;
    condition.check(found.version)?;
    let Subject { id, created_at, external_id, metadata, .. } = found.value;
    let SubjectPatch { external_id, metadata } = merge(&SubjectPatch { external_id, metadata }, patch)?;
    check(external_id.as_ref(), &metadata)?;
    let changed = Subject { id, external_id, metadata, created_at, updated_at: Timestamp::now() };
    let version = subjects.update(&changed, Some(found.version)).await?;
    Ok(tagged(version, changed))
}

/// Delete a subject
///
/// Erases the subject with faces, templates and consents. From then on it is not found by any search, on any worker.
/// Where not every worker could confirm that in time the answer says so; the request can be repeated.
#[utoipa::path(delete, path = "/v1/collections/{collection}/subjects/{subject}", tag = "Subjects", security(("bearer" = ["erase"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path),
        ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    responses((status = 204, description = "Erased")),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "erased", "precondition_failed", "queue_unavailable", "deadline_exceeded"]))))]
async fn remove(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
    condition: IfMatch,
) -> Result<StatusCode> {
    app.collection(&call.principal, &collection).await?;
    let subjects = app.subjects(&call.principal, &collection);
    let erased = async {
        let found = find(&subjects, &id).await?;
        subjects.delete_subject(&id, condition.check(found.version)?, Timestamp::now()).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    confirmed(&app, &call, (&collection, Of::Subject(&id, Reach::Everything)), erased.await).await
}
