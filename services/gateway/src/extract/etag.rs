//! Entity tags: the revision that wrote a record. `If-Match` makes PATCH and DELETE conditional.

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
};
use domain::{ErrorCode, Problem};
use store::Revision;

use crate::{problem::ApiProblem, state::App};

/// The tag of a record.
pub(crate) fn tag(version: Revision) -> HeaderValue {
    // Digits between quotes are always a valid header value.
    HeaderValue::from_str(&format!("\"{}\"", version.0)).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Tags of which one must be the record's present one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No condition, or `*`.
    Any,
    /// One of these.
    OneOf(Vec<Revision>),
}

impl FromRequestParts<App> for IfMatch {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiProblem> {
        let values = parts.headers.get_all(header::IF_MATCH).iter();
        let text: Vec<&str> =
            values.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).collect();
        if text.is_empty() || text.contains(&"*") {
            return Ok(Self::Any);
        }
        let parse = |t: &str| t.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Revision);
        // A tag of another form was never given out and so matches nothing.
        Ok(Self::OneOf(text.into_iter().filter_map(parse).collect()))
    }
}

impl IfMatch {
    /// The version to make the change depend on: `current`, if the condition holds for it.
    pub fn check(&self, current: Revision) -> Result<Option<Revision>, ApiProblem> {
        match self {
            Self::Any => Ok(None),
            Self::OneOf(tags) if tags.contains(&current) => Ok(Some(current)),
            Self::OneOf(_) => Err(stale().into()),
        }
    }
}

fn stale() -> Problem {
    Problem::new(ErrorCode::PreconditionFailed, "if-match names another version; read the resource again and retry")
}
