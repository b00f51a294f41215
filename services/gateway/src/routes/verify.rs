//! `POST /v1/collections/{c}/subjects/{s}/verify`: is it this person.

use axum::{extract::State, response::Response};
use domain::{CollectionId, Problem, Purpose, SubjectId, ThresholdSpec};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::{
    parameters::{EmbeddingBody, FaceSelection, FormImages, JsonImages, purpose},
    subjects::find,
};
use crate::{
    answers::VerifyAnswer,
    context::Call,
    dispatch::carry_out,
    extract::{Ids, Images, Parameters},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(verify))
}

/// Parameters of a verification.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct VerifyParams {
    /// An embedding instead of an image.
    embedding: Option<EmbeddingBody>,
    /// What counts as a match; a false match rate of the model's default unless said.
    threshold: Option<ThresholdSpec>,
    /// What the verification is for; may be left out where the collection has one purpose.
    purpose: Option<Purpose>,
    /// Which face counts where the image shows several.
    face_selection: Option<FaceSelection>,
}

impl Parameters for VerifyParams {
    const TEXT: &'static [&'static str] = &["purpose", "face_selection"];
}

/// Verify
///
/// Compares one probe with the enrolled faces of one subject, if a consent of theirs covers the purpose at this moment. With a raw image the parameters go into the query.
#[utoipa::path(post, path = "/v1/collections/{collection}/subjects/{subject}/verify", tag = "Recognise", security(("bearer" = ["verify"])),
    params(("collection" = CollectionId, Path), ("subject" = SubjectId, Path)),
    request_body(content((JsonImages<VerifyParams> = "application/json"), (FormImages<VerifyParams> = "multipart/form-data"),
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 200, body = VerifyAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "subject_not_found", "face_not_found", "erased", "consent_required", "purpose_not_allowed", "no_face", "multiple_faces", "collection_model_mismatch"]))))]
async fn verify(
    State(app): State<App>,
    call: Call,
    Ids((collection, id)): Ids<(CollectionId, SubjectId)>,
    images: Images<VerifyParams>,
) -> Result<Response> {
    let subjects = app.subjects(&call.principal, &collection);
    let (collection, subject) = tokio::join!(app.collection(&call.principal, &collection), find(&subjects, &id));
    let collection = collection?.value;
    subject?;
    let (mut images, params) = images.into_wire();
    let purpose = purpose(&collection, params.purpose)?;
    params.threshold.as_ref().map(ThresholdSpec::target).transpose()?;
    let embedding = params.embedding.map(|e| e.wire("/embedding")).transpose()?;
    if images.len() + usize::from(embedding.is_some()) != 1 {
        return Err(Problem::invalid("/image", "send exactly one image or one embedding").into());
    }
    let request = v1::VerifyRequest {
        collection_id: collection.id.to_string(),
        subject_id: id.to_string(),
        image: images.pop(),
        embedding,
        threshold: params.threshold.map(Into::into),
        purpose: purpose.to_string(),
        face_selection: params.face_selection.unwrap_or_default().wire(),
    };
    carry_out(&app, &call, Request::Verify(request)).await
}
