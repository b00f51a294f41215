//! A model on its way in: a form with its manifest (TOML) and its ONNX file.

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use domain::{ErrorCode, ModelId, Problem};
use models::Manifest;
use utoipa::ToSchema;

use crate::{
    extract::{broken, form, media_type},
    problem::ApiProblem,
    state::App,
};

/// Longest manifest, in bytes.
const MANIFEST: usize = 256 << 10;

/// A model and what is known about it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form of the request, for the document")]
pub(super) struct ModelForm {
    /// Its id; made if absent.
    id: Option<ModelId>,
    /// The manifest, as of a model that the deployment brings along: TOML with the file's checksum, licence, input,
    /// alignment and, where there is one, its score table.
    manifest: String,
    /// The ONNX file.
    #[schema(value_type = String, format = Binary)]
    model: Vec<u8>,
}

/// What came of the form.
pub(super) struct ModelUpload {
    pub id: Option<ModelId>,
    pub manifest: Manifest,
    pub model: Bytes,
}

impl FromRequest<App> for ModelUpload {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, _: &App) -> Result<Self, ApiProblem> {
        if media_type(request.headers()) != "multipart/form-data" {
            let detail = "send multipart/form-data with the parts manifest and model";
            return Err(ApiProblem::new(ErrorCode::UnsupportedMediaType, detail));
        }
        let mut form = form(request).await?;
        let (mut id, mut manifest, mut model) = (None, None, None);
        while let Some(field) = form.next_field().await.map_err(broken)? {
            let name: String = field.name().unwrap_or_default().chars().take(80).collect();
            let place = match name.as_str() {
                "id" => &mut id,
                "manifest" => &mut manifest,
                "model" => &mut model,
                _ => return Err(Problem::invalid(name, "is no part of this form").into()),
            };
            if place.replace(field.bytes().await.map_err(broken)?).is_some() {
                return Err(Problem::invalid(name, "is given twice").into());
            }
        }
        let needed = |name: &str| Problem::invalid(name, "the form needs this part");
        let id = id.map(|bytes| {
            let text = String::from_utf8_lossy(&bytes);
            ModelId::new(text.trim()).map_err(|e| Problem::invalid("id", e.to_string()))
        });
        let model: Bytes = model.ok_or_else(|| needed("model"))?;
        if model.is_empty() {
            return Err(Problem::invalid("model", "is empty").into());
        }
        let manifest = read(&manifest.ok_or_else(|| needed("manifest"))?)?;
        Ok(Self { id: id.transpose()?, manifest, model })
    }
}

fn read(bytes: &[u8]) -> Result<Manifest, Problem> {
    if bytes.len() > MANIFEST {
        return Err(Problem::invalid("manifest", format!("has at most {MANIFEST} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Problem::invalid("manifest", "must be text in UTF-8"))?;
    Manifest::parse("manifest", text).map_err(|e| Problem::invalid("manifest", e.to_string()))
}
