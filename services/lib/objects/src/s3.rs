//! An S3-compatible store: where it is, who may use it, and how patient a caller is. Used by `Objects::s3`.

use std::{fmt, fs, path::PathBuf, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use crate::{ObjectsError, TIMEOUT};

/// Repetitions of a request that failed in a way that may pass.
const RETRIES: usize = 2;

/// Pause before the first repetition; each next one is longer.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the bucket is and who may use it.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket; must exist.
    pub bucket: String,
    /// First part of every name; may be empty.
    pub prefix: String,
    /// The server's address; that of the region if absent.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Whose key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// Speak plain HTTP to an address that asks for it.
    pub allow_http: bool,
    /// Certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one request.
    pub timeout: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            endpoint: None,
            region: "us-east-1".into(),
            access_key: String::new(),
            secret_key: String::new(),
            allow_http: false,
            ca_file: None,
            timeout: TIMEOUT,
        }
    }
}

/// Secrets do not appear in logs.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// The bucket. Addressed by path where an endpoint is named, as most compatible servers want it.
pub(crate) fn bucket(options: &S3Options) -> Result<AmazonS3, ObjectsError> {
    let wrong = |e: object_store::Error| ObjectsError::Settings(e.to_string());
    let mut client = ClientOptions::new()
        .with_allow_http(options.allow_http)
        .with_connect_timeout(options.timeout.min(Duration::from_secs(2)))
        .with_timeout(options.timeout);
    if let Some(file) = &options.ca_file {
        let unread = |e: std::io::Error| ObjectsError::Settings(format!("{}: {e}", file.display()));
        let pem = fs::read(file).map_err(unread)?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(wrong)? {
            client = client.with_root_certificate(certificate);
        }
    }
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: PAUSE, max_backoff: Duration::from_millis(500), base: 2.0 },
        max_retries: RETRIES,
        retry_timeout: options.timeout,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_access_key_id(&options.access_key)
        .with_secret_access_key(&options.secret_key)
        .with_allow_http(options.allow_http)
        // One `DELETE` an object: many compatible servers lack the request for several.
        .with_disable_bulk_delete(true)
        .with_client_options(client)
        .with_retry(retry);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    builder.build().map_err(wrong)
}

/// Deletes an object, again where the answer was lost: the client repeats only what it takes for safe, and a connection
/// that was kept open to a server which has been started anew breaks under the first request.
pub(crate) async fn delete(bucket: &dyn ObjectStore, name: &Path) -> object_store::Result<()> {
    let mut tried = 0;
    loop {
        match bucket.delete(name).await {
            Err(object_store::Error::Generic { .. }) if tried < RETRIES => {
                tokio::time::sleep(PAUSE * 2u32.pow(u32::try_from(tried).unwrap_or_default())).await;
                tried += 1;
            }
            done => return done,
        }
    }
}
