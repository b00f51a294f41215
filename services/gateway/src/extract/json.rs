//! JSON bodies with errors that name the field. Used by every route that takes JSON, alone or beside images.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use domain::{ErrorCode, FieldError, Problem};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::plain::Plain;
use crate::{config::Limits, problem::ApiProblem, state::App};

/// A JSON body of a documented form.
pub(crate) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for JsonBody<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiProblem> {
        let kind = media_type(request.headers());
        if kind != "application/json" && kind != "application/merge-patch+json" {
            let detail = format!("send application/json, not {}", shown(&kind));
            return Err(ApiProblem::new(ErrorCode::UnsupportedMediaType, detail));
        }
        let bytes = body_bytes(request, &app.config.limits).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// A JSON body of a documented form that may be left out, or be `null`.
pub(crate) struct OptionalJson<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiProblem> {
        let (parts, body) = request.into_parts();
        let bytes = body_bytes(Request::new(body), &app.config.limits).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let JsonBody(value) =
            JsonBody::<Option<T>>::from_request(Request::from_parts(parts, bytes.into()), app).await?;
        Ok(Self(value.unwrap_or_default()))
    }
}

/// The body; the edge has read and bounded it already.
pub(super) async fn body_bytes(request: Request, limits: &Limits) -> Result<Bytes, ApiProblem> {
    let read = axum::body::to_bytes(request.into_body(), limits.request_bytes).await;
    read.map_err(|_| ApiProblem::new(ErrorCode::InvalidRequest, "the body broke off"))
}

/// The media type without its parameters, in lower case; empty if there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// A media type as a message may show it.
pub(super) fn shown(kind: &str) -> String {
    if kind.is_empty() { "a body without content-type".into() } else { kind.chars().take(80).collect() }
}

/// Reads `bytes` as a `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::invalid("", "a JSON object is expected, the body is empty"));
    }
    let value = value(bytes)?;
    // What is derived for an object would take its members as a list as well, in an order that nobody has documented.
    if value.is_array() {
        return Err(Problem::invalid("", "a JSON object is expected, this is a list"));
    }
    from_value(value)
}

/// Reads `bytes` as JSON of any form.
pub(super) fn value(bytes: &[u8]) -> Result<Value, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let Plain(value) = serde_path_to_error::deserialize(&mut json).map_err(|e| field_error(&e))?;
    json.end().map_err(|e| invalid(String::new(), e.to_string()))?;
    Ok(value)
}

/// Reads `value` as a `T`.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|e| field_error(&e))
}

fn field_error<E: std::fmt::Display>(e: &serde_path_to_error::Error<E>) -> Problem {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in e.path() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Unknown => {}
        }
    }
    let message = e.inner().to_string();
    for prefix in ["unknown field `", "missing field `", "duplicate field `"] {
        let field = message.strip_prefix(prefix).and_then(|rest| rest.split_once('`')).map(|(name, _)| escape(name));
        if let Some(field) = field.filter(|f| !pointer.ends_with(&format!("/{f}"))) {
            pointer.push_str(&format!("/{field}"));
        }
    }
    invalid(pointer, tellable(&message))
}

/// Longest word of the caller's that a message shows.
const WORD: usize = 40;

/// A parser's message without what it quotes of the request, but for short words: a misplaced key or photo must not come
/// back in an answer that somebody may write down.
pub(crate) fn tellable(message: &str) -> String {
    let mut told = String::new();
    let mut rest = message;
    while let Some(at) = rest.find("string \"") {
        told.push_str(&rest[..at]);
        told.push_str("a string");
        // The value may hold quotes itself; what follows it is the parser's own.
        rest = rest[at..].rfind("\", expected ").map_or("", |end| &rest[at + end + 1..]);
    }
    told.push_str(rest);
    // A fraction in the wrong place may be a value of a template.
    let words: Vec<&str> = told.split('`').collect();
    let shown = words.iter().enumerate().map(|(i, word)| match i % 2 {
        1 if word.chars().count() > WORD || words[i - 1].ends_with("floating point ") => "…",
        _ => word,
    });
    let told = shown.collect::<Vec<_>>().join("`");
    told.chars().take(1_000).collect()
}

/// `400 invalid_request` at a pointer that may be the whole body.
fn invalid(pointer: String, detail: String) -> Problem {
    let said = if pointer.is_empty() { detail.clone() } else { format!("{pointer}: {detail}") };
    Problem { code: ErrorCode::InvalidRequest, detail: said, errors: vec![FieldError { pointer, detail }] }
}

/// JSON pointer escapes (RFC 6901); names from outside are cut to a length fit for a message.
fn escape(name: &str) -> String {
    name.chars().take(80).collect::<String>().replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{ConsentDraft, ThresholdSpec};
    use std::collections::BTreeMap;

    fn pointer<T: DeserializeOwned>(json: &str) -> String {
        parse::<T>(json.as_bytes()).err().map(|p| p.errors[0].pointer.clone()).unwrap_or_default()
    }

    #[test]
    fn the_pointer_names_the_field() {
        assert_eq!(pointer::<ConsentDraft>(r#"{"purposes":["A B"],"method":"x"}"#), "/purposes/0");
        assert_eq!(pointer::<ConsentDraft>(r#"{"purposes":["a"]}"#), "/method");
        assert_eq!(pointer::<ThresholdSpec>(r#"{"target_fpr":1}"#), "/target_fpr");
        assert_eq!(pointer::<BTreeMap<String, ThresholdSpec>>(r#"{"a/b":{"score":"x"}}"#), "/a~1b/score");
    }

    #[test]
    fn what_was_sent_is_not_told_back_but_for_short_words() {
        let detail = |json: &str| parse::<ThresholdSpec>(json.as_bytes()).unwrap_err().errors[0].detail.clone();
        let secret = "vv_k_".to_owned() + &"5ecre7".repeat(8);
        let odd = format!(r#"{{"score":"{secret}\", expected x"}}"#);
        assert!(detail(&odd).starts_with("invalid type: a string, expected "), "{}", detail(&odd));
        let unknown = detail(&format!(r#"{{"{secret}":1}}"#));
        assert!(unknown.starts_with("unknown field `…`, expected"), "{unknown}");
        assert!(detail(r#"{"score":1,"scor":2}"#).contains("`scor`"));
        assert_eq!(
            tellable("invalid type: floating point `0.0210`, expected u32"),
            "invalid type: floating point `…`, expected u32"
        );
        assert!(tellable(&"x`".repeat(5_000)).len() <= 1_000);
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_and_a_whole_number_may_have_a_point() {
        assert_eq!(pointer::<BTreeMap<String, u32>>(r#"{"a":1,"a":2}"#), "/a");
        assert_eq!(parse::<BTreeMap<String, u32>>(br#"{"a":29.0}"#).unwrap()["a"], 29);
        assert_eq!(pointer::<BTreeMap<String, u32>>(r#"{"a":29.5}"#), "/a");
    }

    #[test]
    fn garbage_empty_and_trailing_text_are_refused() {
        for bad in ["", "{", "[]", r#"["score", 1]"#, "nonsense", r#"{"score":1} x"#, "\u{0}"] {
            assert!(parse::<ThresholdSpec>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
