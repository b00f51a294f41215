//! Entity tags: the revision that wrote a record. `If-Match` makes PATCH and DELETE conditional.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
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
        Ok(Self::of(&parts.headers))
    }
}

impl IfMatch {
    /// The condition that these headers set.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_MATCH).iter();
        // What is no text is a tag all the same: a condition that cannot be read must not read as none.
        let text: Vec<&str> = values.flat_map(|v| v.to_str().unwrap_or_default().split(',')).map(str::trim).collect();
        if text.is_empty() || text.contains(&"*") {
            return Self::Any;
        }
        let parse = |t: &str| t.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Revision);
        // A tag of another form was never given out and so matches nothing.
        Self::OneOf(text.into_iter().filter_map(parse).collect())
    }

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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(value: &[u8]) -> IfMatch {
        let value = HeaderValue::from_bytes(value).unwrap();
        IfMatch::of(&[(header::IF_MATCH, value)].into_iter().collect())
    }

    #[test]
    fn a_condition_is_one_of_our_tags_or_holds_for_nothing() {
        assert_eq!(IfMatch::of(&HeaderMap::new()), IfMatch::Any);
        assert_eq!(of(b"*"), IfMatch::Any);
        assert_eq!(of(b"\"3\", \"7\""), IfMatch::OneOf(vec![Revision(3), Revision(7)]));
        for odd in [&b""[..], b"7", b"W/\"7\"", b"\"x\"", b"\xff", b"\"7\" \xc3"] {
            assert_eq!(of(odd), IfMatch::OneOf(Vec::new()), "{odd:?}");
            assert!(of(odd).check(Revision(7)).is_err());
        }
    }
}
