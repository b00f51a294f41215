//! Hostile requests against everything that reads them before a handler does: forms, JSON, raw images with a query,
//! headers, cursors, credentials, entity tags. Called by the fuzz target `extract` (tests/fuzz), which turns on the
//! feature `fuzzing`, and by the test below over the corpus that such runs have left.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
};
use bytes::Bytes;
use domain::{ConsentDraft, Metadata, Purpose, SubjectId, ThresholdSpec};
use futures::FutureExt;
use serde::Deserialize;
use store::Revision;

use crate::{
    auth::Credential,
    config::{Limits, Times},
    context::{deadline, prefer, request_id},
    extract::{Document, IfMatch, Images, PageQuery, Parameters, from_value},
    problem::ApiProblem,
};

/// Small, so that reaching a limit is easy.
const IMAGE_BYTES: usize = 512;
const MAX_IMAGES: usize = 4;

/// Every kind of parameter that routes read beside images.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read into")]
struct Everything {
    id: Option<SubjectId>,
    limit: Option<u32>,
    purpose: Option<Purpose>,
    threshold: Option<ThresholdSpec>,
    consent: Option<ConsentDraft>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    subject_ids: Vec<SubjectId>,
}

impl Parameters for Everything {
    const TEXT: &'static [&'static str] = &["id", "purpose"];
}

/// Reads one hostile request. The first byte says which reader gets it, the second in what pieces the body comes.
///
/// # Panics
/// Where a reader breaks its promises: that is what the fuzzer looks for.
pub fn read(data: &[u8]) {
    let [kind, piece, rest @ ..] = data else { return };
    let limits = Limits { image_bytes: IMAGE_BYTES, max_images: MAX_IMAGES, ..Limits::default() };
    let body = |kind| request(kind, "/", rest, usize::from(*piece).max(1));
    match kind % 7 {
        0 => images(body("multipart/form-data; boundary=b"), &limits),
        1 => document(body("multipart/form-data; boundary=b"), &limits),
        2 => images(body("application/json"), &limits),
        3 => document(body("application/json"), &limits),
        4 => raw_with_query(rest, &limits),
        5 => headers(rest),
        _ => text(&String::from_utf8_lossy(rest)),
    }
}

/// A request whose body comes in pieces of so many bytes.
fn request(content_type: &str, uri: &str, body: &[u8], piece: usize) -> Request {
    let pieces: Vec<_> = body.chunks(piece).map(|p| Ok::<_, Infallible>(Bytes::copy_from_slice(p))).collect();
    let mut request = Request::new(Body::from_stream(futures::stream::iter(pieces)));
    if let Ok(value) = HeaderValue::from_str(content_type) {
        request.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// What a reader that has everything in memory says at once.
fn at_once<T>(read: impl Future<Output = T>) -> T {
    read.now_or_never().unwrap_or_else(|| unreachable!("a reader waits although all of the body is there"))
}

fn images(request: Request, limits: &Limits) {
    match at_once(Images::<Everything>::read(request, limits)) {
        Ok(read) => {
            assert!(read.files.len() <= MAX_IMAGES);
            assert!(read.files.iter().all(|f| (1..=IMAGE_BYTES).contains(&f.data.len())));
        }
        Err(problem) => refused(&problem),
    }
}

fn document(request: Request, limits: &Limits) {
    match at_once(Document::read(request, limits)) {
        Ok(Document { json, mut files }) => {
            for (name, value) in &json {
                match files.image(value, name) {
                    Ok(image) => assert!((1..=IMAGE_BYTES).contains(&image.len())),
                    Err(problem) => refused(&problem.into()),
                }
            }
            let _ = files.all_used();
        }
        Err(problem) => refused(&problem),
    }
}

fn raw_with_query(rest: &[u8], limits: &Limits) {
    let at = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
    let (query, body) = rest.split_at(at);
    let uri = format!("/v1/detect?{}", String::from_utf8_lossy(query));
    if uri.parse::<Uri>().is_ok() {
        images(request("image/png", &uri, body, 64), limits);
    }
}

/// Lines of `name: value`.
fn headers(rest: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in rest.split(|b| *b == b'\n').take(32) {
        let at = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    let times = Times::default();
    if let Ok(Some(within)) = deadline(&headers, &times) {
        assert!(within > Duration::ZERO && within <= times.max_deadline);
    }
    let _ = prefer(&headers);
    assert!(!request_id(&headers).as_str().is_empty());
    if let IfMatch::OneOf(tags) = IfMatch::of(&headers) {
        let condition = IfMatch::OneOf(tags.clone()).check(Revision(7)).is_ok();
        assert_eq!(condition, tags.contains(&Revision(7)));
    }
}

fn text(text: &str) {
    let (limit, cursor) = text.split_once('\n').unwrap_or(("", text));
    let query = PageQuery { limit: limit.parse().ok(), cursor: Some(cursor.to_owned()) };
    match query.checked() {
        Ok((limit, _)) => assert!((1..=100).contains(&limit)),
        Err(problem) => refused(&problem.into()),
    }
    if let Some(credential) = Credential::parse(text) {
        assert_eq!(credential.shown(), text, "a credential is what was sent");
        assert!(!credential.hash().contains(&credential.secret));
    }
    if let Ok(value) = serde_json::from_str(text)
        && let Err(problem) = from_value::<Everything>(value)
    {
        refused(&problem.into());
    }
}

/// A refusal is the caller's own doing, and fit to be sent.
fn refused(problem: &ApiProblem) {
    let code = problem.problem.code;
    assert!((400..500).contains(&code.status()), "{code} for a request that is merely hostile");
    assert!(problem.problem.detail.chars().count() < 2_000, "a message of {} bytes", problem.problem.detail.len());
    assert!(serde_json::to_string(&problem.problem.errors).is_ok());
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What fuzzing has found, and one request of each kind, must be read or refused without harm.
    #[test]
    fn the_corpus_is_read_or_refused() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/extract");
        let inputs: Vec<_> = fs::read_dir(corpus).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
        assert!(inputs.len() >= 14, "only {} inputs", inputs.len());
        inputs.iter().for_each(|input| super::read(input));
    }
}
