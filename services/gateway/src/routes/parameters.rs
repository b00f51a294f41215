//! Parameters shared by several routes, and how bodies with images look in the OpenAPI document.

use domain::{Collection, ErrorCode, Problem, Purpose};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::v1;

use crate::problem::{ApiProblem, Result};

/// Which face counts where an operation needs exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaceSelection {
    /// The dominant face; several of like size are a problem.
    #[default]
    Dominant,
    /// The only face; any second one is a problem.
    Only,
    /// The largest and most central face, whatever else is there.
    Largest,
}

impl FaceSelection {
    /// As the wire carries it.
    pub fn wire(self) -> i32 {
        match self {
            Self::Dominant => v1::FaceSelection::Dominant,
            Self::Only => v1::FaceSelection::Only,
            Self::Largest => v1::FaceSelection::Largest,
        }
        .into()
    }
}

/// An image in JSON.
#[derive(Deserialize, ToSchema)]
#[expect(dead_code, reason = "describes a form; images are taken out before parameters are read")]
pub(crate) struct ImageB64 {
    /// JPEG, PNG or WebP in base64.
    #[schema(content_encoding = "base64")]
    b64: String,
}

/// Image(s) and parameters as JSON. Give `image` or `images`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(crate) struct JsonImages<P> {
    /// One image.
    image: Option<ImageB64>,
    /// Several images.
    images: Option<Vec<ImageB64>>,
    /// The parameters.
    #[serde(flatten)]
    parameters: P,
}

/// Image(s) and parameters as a form. Objects are JSON text; lists are too, or come item by item, a part for each.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a form")]
pub(crate) struct FormImages<P> {
    /// One image per part; repeat it for several.
    #[schema(value_type = Vec<String>, format = Binary)]
    image: Vec<u8>,
    /// The parameters.
    #[serde(flatten)]
    parameters: P,
}

/// An embedding that this service returned.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingBody {
    /// The contract it came with.
    contract: domain::ContractId,
    /// Its values.
    values: Vec<f32>,
}

impl EmbeddingBody {
    /// As the wire carries it.
    pub fn wire(self, pointer: &str) -> Result<v1::Embedding, Problem> {
        if self.values.is_empty() || self.values.len() > 4096 || self.values.iter().any(|v| !v.is_finite()) {
            return Err(Problem::invalid(format!("{pointer}/values"), "must be 1 to 4096 finite numbers"));
        }
        Ok(v1::Embedding { contract: self.contract.to_string(), values: self.values })
    }
}

/// A number that must lie in a range.
pub(crate) fn within(name: &str, value: u32, range: std::ops::RangeInclusive<u32>) -> Result<u32, Problem> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Problem::invalid(format!("/{name}"), format!("must be {} to {}", range.start(), range.end())))
}

/// The purpose a recognition is for: the one named, or the collection's only one.
pub(crate) fn purpose(collection: &Collection, named: Option<Purpose>) -> Result<Purpose> {
    let list = || collection.purposes.iter().map(Purpose::as_str).collect::<Vec<_>>().join(", ");
    match (named, &collection.purposes[..]) {
        (Some(p), all) if all.contains(&p) => Ok(p),
        (Some(p), _) => {
            let detail = format!("collection {} is for {}, not for {p}", collection.id, list());
            Err(ApiProblem::new(ErrorCode::PurposeNotAllowed, detail))
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => {
            Err(Problem::invalid("/purpose", format!("name one of the collection's purposes: {}", list())).into())
        }
    }
}
