//! `POST /v1/collections/{c}/identify`: who is it, among everybody enrolled.

use axum::{extract::State, response::Response};
use domain::{Collection, CollectionId, Metadata, Problem, Purpose, SubjectId, ThresholdSpec};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::parameters::{EmbeddingBody, FormImages, JsonImages, purpose, within};
use crate::{
    answers::IdentifyAnswer,
    context::Call,
    dispatch::carry_out,
    extract::{Ids, Images, Parameters},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(identify))
}

/// Parameters of an identification.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentifyParams {
    /// An embedding instead of images.
    pub embedding: Option<EmbeddingBody>,
    /// Several embeddings instead of images.
    #[serde(default)]
    pub embeddings: Vec<EmbeddingBody>,
    /// Candidates per face; 5 unless said.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// Faces searched per image; 1, the largest and most central, unless said.
    #[schema(minimum = 1, maximum = 64)]
    pub max_faces: Option<u32>,
    /// What counts as a match; the collection's target unless said.
    pub threshold: Option<ThresholdSpec>,
    /// Labels a subject must carry.
    #[serde(default)]
    pub filter: Metadata,
    /// Only these subjects; everybody if empty.
    #[serde(default)]
    pub subject_ids: Vec<SubjectId>,
    /// What the identification is for; may be left out where the collection has one purpose.
    pub purpose: Option<Purpose>,
}

impl Parameters for IdentifyParams {
    const TEXT: &'static [&'static str] = &["purpose", "subject_ids"];
    const LISTS: &'static [&'static str] = &["subject_ids", "embeddings"];
}

impl IdentifyParams {
    /// The request in so far as it does not depend on what is searched for, checked.
    pub fn request(&self, collection: &Collection) -> Result<v1::IdentifyRequest> {
        let purpose = purpose(collection, self.purpose.clone())?;
        self.threshold.as_ref().map(ThresholdSpec::target).transpose()?;
        self.filter.check("/filter")?;
        if self.subject_ids.len() > 10_000 {
            return Err(Problem::invalid("/subject_ids", "names at most 10000 subjects").into());
        }
        Ok(v1::IdentifyRequest {
            collection_id: collection.id.to_string(),
            limit: within("limit", self.limit.unwrap_or(5), 1..=100)?,
            max_faces: within("max_faces", self.max_faces.unwrap_or(1), 1..=64)?,
            threshold: self.threshold.map(Into::into),
            filter: self.filter.0.clone().into_iter().collect(),
            subject_ids: self.subject_ids.iter().map(SubjectId::to_string).collect(),
            purpose: purpose.to_string(),
            ..v1::IdentifyRequest::default()
        })
    }
}

/// Identify
///
/// Compares each probe with every enrolled face of the collection whose subject's consent covers the purpose at this moment.
/// Nobody alike enough is an answer, not an error:
/// `"decision": "no_match"`. The answer says which threshold held and why. With a raw image the parameters go into
/// the query.
#[utoipa::path(post, path = "/v1/collections/{collection}/identify", tag = "Recognise", security(("bearer" = ["identify"])),
    params(("collection" = CollectionId, Path)),
    request_body(content((JsonImages<IdentifyParams> = "application/json"), (FormImages<IdentifyParams> = "multipart/form-data"),
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 200, body = IdentifyAnswer)),
    extensions(("x-problems" = json!(["collection_not_found", "purpose_not_allowed", "no_face", "collection_model_mismatch"]))))]
async fn identify(
    State(app): State<App>,
    call: Call,
    Ids(id): Ids<CollectionId>,
    images: Images<IdentifyParams>,
) -> Result<Response> {
    let collection = app.collection(&call.principal, &id).await?.value;
    let (images, params) = images.into_wire();
    let request = params.request(&collection)?;
    let mut embeddings = params.embedding.map(|e| e.wire("/embedding")).transpose()?.into_iter().collect::<Vec<_>>();
    for (i, e) in params.embeddings.into_iter().enumerate() {
        embeddings.push(e.wire(&format!("/embeddings/{i}"))?);
    }
    if embeddings.len() > app.config.limits.max_images {
        let detail = format!("at most {} embeddings are allowed in one request", app.config.limits.max_images);
        return Err(Problem::invalid("/embeddings", detail).into());
    }
    if images.is_empty() == embeddings.is_empty() {
        return Err(Problem::invalid("/image", "send either images or embeddings").into());
    }
    let request = Request::Identify(v1::IdentifyRequest { images, embeddings, ..request });
    carry_out(&app, &call, request).await
}
