//! An answer of the service, with the questions tests ask of it.

use bytes::Bytes;
use reqwest::{StatusCode, Version, header::HeaderMap};
use serde_json::Value;

/// Status, headers and body, read to the end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked, for messages.
    pub request: String,
    /// The status.
    pub status: u16,
    /// HTTP version spoken.
    pub version: Version,
    /// Headers.
    pub headers: HeaderMap,
    /// The body.
    pub bytes: Bytes,
    /// The body as JSON; null where it is none.
    pub json: Value,
}

impl Answer {
    /// Reads a response to the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(request: String, response: reqwest::Response) -> reqwest::Result<Self> {
        let (status, version, headers) = (response.status().as_u16(), response.version(), response.headers().clone());
        let bytes = response.bytes().await?;
        let json = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Self { request, status, version, headers, bytes, json })
    }

    /// Fails unless the status is this one; gives the answer back.
    #[must_use]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text());
        self
    }

    /// Fails unless the status is 2xx; gives the body.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Value {
        let fine = StatusCode::from_u16(self.status).is_ok_and(|s| s.is_success());
        assert!(fine, "{}: {} {}", self.request, self.status, self.text());
        self.json
    }

    /// Fails unless this is a complete problem document with this code; gives its detail.
    #[must_use]
    #[track_caller]
    pub fn problem(&self, code: &str) -> String {
        let said = format!("{}: {} {}", self.request, self.status, self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{said}");
        let p = &self.json;
        assert_eq!(p["code"], code, "{said}");
        assert_eq!(p["status"], self.status, "{said}");
        assert_eq!(p["type"], format!("urn:visavis:problem:{code}"), "{said}");
        assert!(p["title"].as_str().is_some_and(|t| !t.is_empty()), "{said}");
        assert!(p["retryable"].is_boolean(), "{said}");
        assert_eq!(p["request_id"], self.header("x-request-id"), "{said}");
        let detail = p["detail"].as_str().unwrap_or_default();
        assert!(detail.len() >= 10, "a person cannot act on {detail:?}: {said}");
        detail.to_owned()
    }

    /// Fields that the problem names.
    #[must_use]
    pub fn problem_fields(&self) -> Vec<&str> {
        let errors = self.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        errors.iter().filter_map(|e| e["pointer"].as_str()).collect()
    }

    /// A header, empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Milliseconds of a stage in `server-timing`.
    #[must_use]
    pub fn stage_ms(&self, stage: &str) -> Option<f64> {
        let entries = self.header("server-timing").split(',');
        entries.into_iter().find_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let of = parts.next()?;
            let duration = parts.find_map(|p| p.strip_prefix("dur="))?;
            (of == stage).then(|| duration.parse().ok())?
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}
