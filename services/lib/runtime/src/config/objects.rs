//! `[objects]`: where retained crops lie. A section of the configuration with its rules; read by the binary.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// Least age of an object that a sweep may take for an orphan: longer than any enrolment may take.
const LEAST_ORPHAN: Duration = Duration::from_secs(20 * 60);

/// `[objects]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsSection {
    /// A folder, or `s3://BUCKET/PREFIX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Address of an S3-compatible server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: String,
    /// Whose key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Secret<String>>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Secret<String>>,
    /// File with the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
    /// Plain HTTP to an endpoint that asks for it.
    pub allow_http: bool,
    /// Certificates to trust, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Longest time for one request, in milliseconds.
    pub timeout_ms: u64,
    /// Time between two sweeps, in milliseconds.
    pub sweep_every_ms: u64,
    /// Age from which on an object without record is deleted, in milliseconds.
    pub orphan_after_ms: u64,
}

impl ObjectsSection {
    /// Bucket and prefix, where the place is one.
    #[must_use]
    pub fn bucket(&self) -> Option<(&str, &str)> {
        let rest = self.url.as_deref()?.strip_prefix("s3://")?;
        Some(rest.split_once('/').unwrap_or((rest, "")))
    }

    /// Longest time for one request.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Time between two sweeps.
    #[must_use]
    pub const fn sweep_every(&self) -> Duration {
        Duration::from_millis(self.sweep_every_ms)
    }

    /// Age from which on an object without record is deleted.
    #[must_use]
    pub const fn orphan_after(&self) -> Duration {
        Duration::from_millis(self.orphan_after_ms)
    }

    /// What of it contradicts itself.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        if let Some((bucket, _)) = self.bucket() {
            if bucket.is_empty() {
                broken.push(("objects.url", "names no bucket: s3://BUCKET/PREFIX".into()));
            }
            if self.access_key.is_none() {
                broken.push(("objects.access_key", "is needed for a bucket".into()));
            }
            if self.secret_key.is_some() == self.secret_key_file.is_some() {
                broken.push((
                    "objects.secret_key_file",
                    "or objects.secret_key, one of them, is needed for a bucket".into(),
                ));
            }
            if self.endpoint.as_ref().is_some_and(|e| e.starts_with("http://")) && !self.allow_http {
                broken.push(("objects.endpoint", "is plain HTTP: take https, or set objects.allow_http".into()));
            }
        } else if self.url.as_ref().is_some_and(|u| u.is_empty() || u.contains("://")) {
            broken.push(("objects.url", "is neither a folder nor s3://BUCKET/PREFIX".into()));
        }
        if self.timeout_ms < 100 {
            broken.push(("objects.timeout_ms", "must be at least 100".into()));
        }
        if self.sweep_every_ms < 1000 {
            broken.push(("objects.sweep_every_ms", "must be at least 1000".into()));
        }
        if self.orphan_after() < LEAST_ORPHAN {
            let least = LEAST_ORPHAN.as_millis();
            broken
                .push(("objects.orphan_after_ms", format!("must be at least {least}: an enrolment may be under way")));
        }
        broken
    }
}
