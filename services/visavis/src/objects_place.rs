//! From `[objects]` to the place where crops lie: the configured folder or bucket, or beside the embedded store. Used by
//! `engines.rs`.

use std::fs;
use std::path::PathBuf;

use objects::{Objects, S3Options};
use runtime::Config;
use runtime::config::{ObjectsSection, StoreEngine};

use crate::data_dir::DataDir;
use crate::failure::Failure;

/// The place; none on a shared store where none is configured: a folder of this process alone would be one that the
/// others do not erase from.
///
/// # Errors
/// Settings that cannot be used, a key file that cannot be read.
pub fn objects(config: &Config, data: &DataDir) -> Result<Option<Objects>, Failure> {
    let section = &config.objects;
    let opened = match (section.bucket(), &section.url) {
        (Some((bucket, prefix)), _) => Objects::s3(&s3(section, bucket, prefix)?),
        (None, Some(folder)) => Objects::disk(PathBuf::from(folder)),
        (None, None) if config.store.engine == StoreEngine::Redb => Objects::disk(data.objects()),
        (None, None) => return Ok(None),
    };
    opened.map(Some).map_err(|e| Failure::Usage(e.to_string()))
}

fn s3(section: &ObjectsSection, bucket: &str, prefix: &str) -> Result<S3Options, Failure> {
    let secret = |s: &Option<runtime::Secret<String>>| s.as_ref().map(|s| s.expose().clone()).unwrap_or_default();
    let secret_key = match &section.secret_key_file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(|e| Failure::io("the object store's key", file, &e))?;
            text.trim().to_owned()
        }
        None => secret(&section.secret_key),
    };
    Ok(S3Options {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: section.endpoint.clone(),
        region: section.region.clone(),
        access_key: secret(&section.access_key),
        secret_key,
        allow_http: section.allow_http,
        ca_file: section.tls_ca_file.clone(),
        timeout: section.timeout(),
    })
}
