//! `POST /v1/compare`: one face against others, nothing kept.

use axum::{extract::State, response::Response};
use domain::{Problem, ThresholdSpec};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use wire::v1::{self, envelope::Request};

use super::parameters::{FaceSelection, ImageB64};
use crate::{
    answers::CompareAnswer,
    context::Call,
    dispatch::carry_out,
    extract::{Images, Parameters},
    problem::Result,
    state::App,
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(compare))
}

/// Parameters of a comparison.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CompareParams {
    /// What counts as a match; a false match rate of the model's default unless said.
    threshold: Option<ThresholdSpec>,
    /// Which face counts where there are several.
    face_selection: Option<FaceSelection>,
}

impl Parameters for CompareParams {
    const FILES: &'static [&'static str] = &["source", "target", "targets"];
    const TEXT: &'static [&'static str] = &["face_selection"];
}

/// A comparison as JSON.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
struct CompareJson {
    /// The face to compare.
    source: ImageB64,
    /// What to compare it with.
    targets: Vec<ImageB64>,
    /// The parameters.
    #[serde(flatten)]
    parameters: CompareParams,
}

/// A comparison as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
struct CompareForm {
    /// The face to compare.
    #[schema(value_type = String, format = Binary)]
    source: Vec<u8>,
    /// One image per part; repeat it for several.
    #[schema(value_type = Vec<String>, format = Binary)]
    target: Vec<u8>,
    /// The parameters.
    #[serde(flatten)]
    parameters: CompareParams,
}

/// Compare faces
///
/// The face of `source` against the face of each target. A target that fails has a `problem` in its item; the only
/// target of a request that fails is the answer's problem.
/// Nobody enrolled is looked at and nothing is kept, so there is no purpose to name.
#[utoipa::path(post, path = "/v1/compare", tag = "Stateless", security(("bearer" = ["compare"])),
    request_body(content((CompareJson = "application/json"), (CompareForm = "multipart/form-data"))),
    responses((status = 200, body = CompareAnswer)),
    extensions(("x-problems" = json!(["no_face", "multiple_faces", "low_quality"]))))]
async fn compare(State(app): State<App>, call: Call, images: Images<CompareParams>) -> Result<Response> {
    let Images { files, params } = images;
    params.threshold.as_ref().map(ThresholdSpec::target).transpose()?;
    let (sources, targets): (Vec<_>, Vec<_>) = files.into_iter().partition(|f| f.field == "source");
    let mut sources = sources.into_iter();
    let (Some(source), None) = (sources.next(), sources.next()) else {
        return Err(Problem::invalid("/source", "send exactly one source image").into());
    };
    if targets.is_empty() {
        return Err(Problem::invalid("/targets", "send at least one target image").into());
    }
    let request = v1::CompareRequest {
        source: Some(v1::Image { data: source.data }),
        targets: targets.into_iter().map(|f| v1::Image { data: f.data }).collect(),
        threshold: params.threshold.map(Into::into),
        face_selection: params.face_selection.unwrap_or_default().wire(),
    };
    carry_out(&app, &call, Request::Compare(request)).await
}
