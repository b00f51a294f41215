//! `/v1/collections/{c}/subjects/{s}/faces`: the enrolled faces of a person.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use domain::{CollectionId, ConsentDraft, EnrolledFace, ErrorCode, FaceId, Problem, SubjectId};
use serde::Deserialize;
use store::{Reach, Subjects, Versioned};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::{
    created,
    enrol::{Enrolment, consent, on_record},
    parameters::{FaceSelection, FormImages, JsonImages},
    subjects::find,
    tagged,
};
use crate::{
    answers::{Answer, EnrolAnswer},
    context::Call,
    dispatch::carry_out_as,
    erasure::{Of, confirmed},
    extract::{Ids, IfMatch, Images, Page, PageQuery, Parameters, Search},
    problem::{ApiProblem, Result},
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(add, list)).routes(routes!(show, remove))
}

/// Further faces of a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FacesParams {
    /// A consent to record with them; needed unless one is on record.
    consent: Option<ConsentDraft>,
    /// Which face counts where an image shows several.
    face_selection: Option<FaceSelection>,
}

impl Parameters for FacesParams {
    const TEXT: &'static [&'static str] = &["face_selection"];
}

/// Add faces to a subject
///
/// As in enrolment: one face per image; if every image is rejected the answer is the first one's problem.
#[utoipa::path(post, path = "/v1/collections/{collection}/subjects/{subject}/faces", tag = "Subjects", security(("bearer" = ["subjects:write"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path)),
    request_body(content((JsonImages<FacesParams> = "application/json"), (FormImages<FacesParams> = "multipart/form-data"),
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 201, body = EnrolAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "erased", "consent_required", "no_face", "multiple_faces", "low_quality", "spoof_suspected", "collection_model_mismatch"]))))]
async fn add(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
    images: Images<FacesParams>,
) -> Result<Response> {
    let (images, params) = images.into_wire();
    let subjects = app.subjects(&call.principal, &collection);
    let (collection, subject, on_record) = tokio::join!(
        app.collection(&call.principal, &collection),
        find(&subjects, &id),
        on_record(&subjects, &id, params.consent.as_ref()),
    );
    let (collection, subject) = (collection?.value, subject?.value);
    if images.is_empty() {
        return Err(Problem::invalid("/image", "send at least one image").into());
    }
    let consent = consent(&collection, &id, params.consent, &on_record?)?;
    let subject = v1::Subject::from(&subject);
    let job = Enrolment {
        subject,
        create: false,
        consent,
        images,
        face_selection: params.face_selection.unwrap_or_default(),
    };
    let job = job.request(&collection);
    carry_out_as(&app, &call, Request::Enrol(job), |answer| match answer {
        Answer::Enrol(e) => {
            let mut location = format!("/v1/collections/{}/subjects/{id}/faces", collection.id);
            if let [only] = &e.faces[..] {
                location = format!("{location}/{}", only.id);
            }
            Ok(created(&location, None, e))
        }
        _ => Err(ApiProblem::new(ErrorCode::Internal, "a worker answered another question")),
    })
    .await
}

/// List a subject's faces
#[utoipa::path(get, path = "/v1/collections/{collection}/subjects/{subject}/faces", tag = "Subjects", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path), PageQuery),
    responses((status = 200, body = Page<EnrolledFace>)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "erased", "invalid_cursor"]))))]
async fn list(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
    Search(page): Search<PageQuery>,
) -> Result<Json<Page<EnrolledFace>>> {
    let (limit, after) = page.checked()?;
    app.collection(&call.principal, &collection).await?;
    let subjects = app.subjects(&call.principal, &collection);
    find(&subjects, &id).await?;
    let all = subjects.faces(&id).await?.into_iter().map(|f| f.value);
    let mut faces: Vec<EnrolledFace> = all.filter(|f| after.as_deref().is_none_or(|a| f.id.as_str() > a)).collect();
    let more = faces.len() > limit;
    faces.truncate(limit);
    let next = faces.last().filter(|_| more).map(|f| f.id.to_string());
    Ok(Json(Page::new(faces, next)))
}

async fn face(subjects: &Subjects, id: &SubjectId, face: &FaceId) -> Result<Versioned<EnrolledFace>> {
    find(subjects, id).await?;
    let found = subjects.face(id, face).await?;
    found.ok_or_else(|| ApiProblem::new(ErrorCode::FaceNotFound, format!("subject {id} has no face {face}")))
}

/// Show a face
#[utoipa::path(get, path = "/v1/collections/{collection}/subjects/{subject}/faces/{face}", tag = "Subjects", security(("bearer" = ["subjects:read"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path), ("face" = FaceId, Path)),
    responses((status = 200, body = EnrolledFace)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "face_not_found", "erased"]))))]
async fn show(
    State(app): State<App>,
    call: Call,
    Ids((collection, id, face_id)): Ids<(CollectionId, SubjectId, FaceId)>,
) -> Result<impl IntoResponse> {
    app.collection(&call.principal, &collection).await?;
    let found = face(&app.subjects(&call.principal, &collection), &id, &face_id).await?;
    Ok(tagged(found.version, found.value))
}

/// Delete a face
///
/// Erases the face, its template and its crop; the subject stays.
#[utoipa::path(delete, path = "/v1/collections/{collection}/subjects/{subject}/faces/{face}", tag = "Subjects", security(("bearer" = ["erase"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path), ("face" = FaceId, Path),
        ("if-match" = Option<String>, Header, description = "Only if the entity tag is this one")),
    responses((status = 204, description = "Erased")),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "face_not_found", "erased", "precondition_failed", "queue_unavailable", "deadline_exceeded"]))))]
async fn remove(
    State(app): State<App>,
    call: Call,
    Ids((collection, id, face_id)): Ids<(CollectionId, SubjectId, FaceId)>,
    condition: IfMatch,
) -> Result<StatusCode> {
    app.collection(&call.principal, &collection).await?;
    let subjects = app.subjects(&call.principal, &collection);
    let erased = async {
        let found = face(&subjects, &id, &face_id).await?;
        subjects.delete_face(&id, &face_id, condition.check(found.version)?).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    confirmed(&app, &call, (&collection, Of::Subject(&id, Reach::Kept)), erased.await).await
}
