//! `POST /v1/detect`: faces in images, nothing kept.

use axum::{extract::State, response::Response};
use domain::Problem;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::parameters::{FormImages, JsonImages, within};
use crate::{
    answers::DetectAnswer,
    context::Call,
    dispatch::carry_out,
    extract::{Images, Parameters},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(detect))
}

/// Parameters of a detection.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DetectParams {
    /// Most faces told per image, best first; all unless said.
    #[schema(minimum = 1, maximum = 1000)]
    max_faces: Option<u32>,
}

impl Parameters for DetectParams {}

/// Find faces
///
/// Box, landmarks, pose and quality of every face. An image without a face gives an empty list. Several images give
/// one item each; an image that fails has a `problem` in its item. With a raw image the parameters go into the query.
#[utoipa::path(post, path = "/v1/detect", tag = "Stateless", security(("bearer" = ["detect"])),
    request_body(content((JsonImages<DetectParams> = "application/json"), (FormImages<DetectParams> = "multipart/form-data"),
        ("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 200, body = DetectAnswer)))]
async fn detect(State(app): State<App>, call: Call, images: Images<DetectParams>) -> Result<Response> {
    let (images, params) = images.into_wire();
    if images.is_empty() {
        return Err(Problem::invalid("/image", "send at least one image").into());
    }
    let max_faces = params.max_faces.map(|n| within("max_faces", n, 1..=1000)).transpose()?.unwrap_or(0);
    carry_out(&app, &call, Request::Detect(v1::DetectRequest { images, max_faces })).await
}
