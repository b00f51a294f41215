//! What the gateway can be told: addresses, certificate files, limits, deadlines. Built by the binary from its
//! layered settings; this crate reads no files but the certificate's and no environment.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use domain::Cidr;
use queue::Rate;
use trace::Tracer;

use crate::oidc::IssuerConfig;

/// Settings of one gateway.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Certificate and key.
    pub tls: TlsConfig,
    /// Size limits.
    pub limits: Limits,
    /// Time limits.
    pub times: Times,
    /// Proxies that are believed when they say where a request comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Identity providers whose tokens are accepted.
    pub issuers: Vec<IssuerConfig>,
    /// How many tenants have metrics of their own; the others share one.
    pub metric_tenants: usize,
    /// What is kept how long.
    pub retention: RetentionConfig,
    /// How long events of the audit trail are kept; for ever if absent.
    pub audit_kept: Option<Duration>,
    /// How old they are when they are packed; a gateway packs nothing before it has run for as long.
    pub audit_packed_after: Duration,
    /// Where spans of requests go; nowhere unless said.
    pub tracer: Tracer,
}

/// Certificate and private key, both PEM. Made self-signed when neither file exists.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key; written with mode 0600.
    pub key: PathBuf,
    /// Further names and addresses for a certificate made here, beside localhost, the listen address and the
    /// machine's name.
    pub extra_names: Vec<String>,
    /// Also speak TLS 1.2. Off unless asked for.
    pub allow_tls12: bool,
    /// How often the files are looked at for a renewed certificate.
    pub reload_every: Duration,
}

/// Size limits of what comes in and of how much at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one encoded image.
    pub image_bytes: usize,
    /// Bytes of one request's body where images are taken.
    pub request_bytes: usize,
    /// Bytes of one request's body elsewhere.
    pub json_bytes: usize,
    /// Images in one request.
    pub max_images: usize,
    /// Items in one bulk job.
    pub job_items: usize,
    /// Bytes of an export that is imported.
    pub import_bytes: usize,
    /// Event streams followed at once.
    pub event_streams: usize,
    /// Connections at once; one more is closed.
    pub connections: usize,
    /// Requests worked on at once.
    pub in_flight: usize,
    /// Bytes of request bodies held at once, over all requests.
    pub buffered_bytes: usize,
    /// Jobs waiting on a lane above which new ones are refused.
    pub queue_depth: u64,
    /// How often one API key may ask, over all gateways; no limit if absent.
    pub key_rate: Option<Rate>,
    /// Requests of one API key worked on at once by this gateway; no limit if absent.
    pub key_in_flight: Option<usize>,
}

/// Time limits.
#[derive(Clone, Debug)]
pub struct Times {
    /// Deadline of a request that names none.
    pub deadline: Duration,
    /// Longest deadline a request may name.
    pub max_deadline: Duration,
    /// Longest time for a request's body to arrive.
    pub body: Duration,
    /// Deadline of a job that nobody waits for.
    pub job_deadline: Duration,
    /// How long a job's record and result are kept.
    pub job_kept: Duration,
    /// How long a write under an idempotency key counts as under way after its gateway last said so.
    pub idempotency_lease: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency: Duration,
    /// How long requests in flight may take after a shutdown began.
    pub drain: Duration,
}

/// How often it is seen to what is kept too long.
#[derive(Clone, Copy, Debug)]
pub struct RetentionConfig {
    /// Time between two sweeps of all collections; none if absent.
    pub sweep_every: Option<Duration>,
    /// Enrolled subjects of one tenant from which on it is warned that authorities may have to be told; 0 for none.
    pub enrolled_warning: u64,
}

impl GatewayConfig {
    /// Documented defaults, with the certificate at `cert` and `key`.
    #[must_use]
    pub fn new(listen: SocketAddr, cert: PathBuf, key: PathBuf) -> Self {
        let tls =
            TlsConfig { cert, key, extra_names: Vec::new(), allow_tls12: false, reload_every: Duration::from_secs(10) };
        Self {
            listen,
            tls,
            limits: Limits::default(),
            times: Times::default(),
            trusted_proxies: Vec::new(),
            issuers: Vec::new(),
            metric_tenants: 32,
            retention: RetentionConfig::default(),
            audit_kept: None,
            audit_packed_after: Duration::from_secs(300),
            tracer: Tracer::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            image_bytes: 10 << 20,
            request_bytes: 64 << 20,
            json_bytes: 1 << 20,
            max_images: 64,
            job_items: 1_000,
            import_bytes: 16 << 30,
            event_streams: 256,
            connections: 4096,
            in_flight: 512,
            buffered_bytes: 1 << 30,
            queue_depth: 1024,
            key_rate: None,
            key_in_flight: None,
        }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { sweep_every: Some(Duration::from_secs(3600)), enrolled_warning: 100_000 }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            max_deadline: Duration::from_secs(60),
            body: Duration::from_secs(60),
            job_deadline: Duration::from_secs(15 * 60),
            job_kept: Duration::from_secs(24 * 3600),
            idempotency_lease: Duration::from_secs(6),
            idempotency: Duration::from_secs(24 * 3600),
            drain: Duration::from_secs(25),
        }
    }
}
