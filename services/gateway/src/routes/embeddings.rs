//! `POST /v1/embeddings`: embeddings of the faces in images, nothing kept.

use axum::{extract::State, response::Response};
use domain::Problem;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::parameters::{FormImages, JsonImages, within};
use crate::{
    answers::EmbedAnswer,
    context::Call,
    dispatch::carry_out,
    edge::Unstorable,
    extract::{Images, Parameters},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(embeddings))
}

/// Parameters of an embedding.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EmbedParams {
    /// Most faces embedded per image, best first; all unless said.
    #[schema(minimum = 1, maximum = 64)]
    max_faces: Option<u32>,
}

impl Parameters for EmbedParams {}

/// Embed faces
///
/// A unit vector per face with the contract that made it; vectors of different contracts must not be compared.
/// Embeddings are biometric data: handle them as such. They are never kept here, not for idempotency either,
/// and nobody enrolled is looked at: there is no purpose to name.
#[utoipa::path(post, path = "/v1/embeddings", tag = "Stateless", security(("bearer" = ["embed"])),
    request_body(content((JsonImages<EmbedParams> = "application/json"), (FormImages<EmbedParams> = "multipart/form-data"),
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 200, body = EmbedAnswer)), extensions(("x-problems" = json!(["no_face"]))))]
async fn embeddings(State(app): State<App>, call: Call, images: Images<EmbedParams>) -> Result<Response> {
    let (images, params) = images.into_wire();
    if images.is_empty() {
        return Err(Problem::invalid("/image", "send at least one image").into());
    }
    let max_faces = params.max_faces.map(|n| within("max_faces", n, 1..=64)).transpose()?.unwrap_or(0);
    let mut response = carry_out(&app, &call, Request::Embed(v1::EmbedRequest { images, max_faces })).await?;
    if response.status() == axum::http::StatusCode::OK {
        response.extensions_mut().insert(Unstorable);
    }
    Ok(response)
}
