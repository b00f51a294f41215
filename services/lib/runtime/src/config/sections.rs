//! The typed configuration, one struct per section; what each key means stands in `default.toml`.
//! Read by the binary, which turns sections into the roles' own configurations.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::Cidr;
use serde::{Deserialize, Serialize};

use super::{GateSection, ObjectsSection, OidcSection, TrainerSection};
use crate::Secret;

/// The effective configuration of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// HTTPS edge.
    pub gateway: GatewaySection,
    /// Identity providers.
    pub oidc: OidcSection,
    /// What one request may carry.
    pub limits: LimitsSection,
    /// Inference.
    pub worker: WorkerSection,
    /// Training runs.
    pub trainer: TrainerSection,
    /// The server that processes share.
    pub redis: RedisSection,
    /// Records.
    pub store: StoreSection,
    /// Sealing at rest.
    pub sealing: SealingSection,
    /// Retained crops.
    pub objects: ObjectsSection,
    /// Galleries in memory.
    pub gallery: GallerySection,
    /// Job lanes.
    pub queue: QueueSection,
    /// The audit trail.
    pub audit: AuditSection,
    /// Models and artefacts.
    pub models: ModelsSection,
    /// What is asked of a model before it is promoted.
    pub gate: GateSection,
    /// What is kept how long.
    pub retention: RetentionSection,
    /// Metrics and probes.
    pub admin: AdminSection,
    /// Logs.
    pub telemetry: TelemetrySection,
    /// How the process ends.
    pub shutdown: ShutdownSection,
}

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewaySection {
    /// HTTPS address; port 0 takes any.
    pub listen: SocketAddr,
    /// Lowest TLS version accepted.
    pub tls_min_version: TlsVersion,
    /// Certificate chain, PEM; given together with the key or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Further names for a certificate made here.
    pub tls_extra_names: Vec<String>,
    /// First admin key: read if the file exists, else made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key_file: Option<PathBuf>,
    /// First admin key itself; written to the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_key: Option<Secret<String>>,
    /// Connections at once.
    pub max_connections: usize,
    /// Requests in work at once.
    pub max_in_flight: usize,
    /// Bytes of request bodies held at once.
    pub max_buffered_bytes: usize,
    /// Deadline of a request that names none, in milliseconds.
    pub default_deadline_ms: u64,
    /// Latest deadline a request may name, in milliseconds.
    pub max_deadline_ms: u64,
    /// Longest time for a body to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// Requests a second of one API key; 0 sets no bound.
    pub key_requests_per_second: f64,
    /// Requests of one API key at once after a rest; 0 takes the rate.
    pub key_burst: u32,
    /// Requests of one API key in work at once on one gateway; 0 sets no bound.
    pub key_in_flight: usize,
    /// Event streams followed at once.
    pub event_streams: usize,
    /// Proxies that are believed when they say where a request comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Tenants with metrics of their own.
    pub metric_tenants: usize,
}

impl GatewaySection {
    /// Deadline of a request that names none.
    #[must_use]
    pub const fn default_deadline(&self) -> Duration {
        Duration::from_millis(self.default_deadline_ms)
    }

    /// Latest deadline a request may name.
    #[must_use]
    pub const fn max_deadline(&self) -> Duration {
        Duration::from_millis(self.max_deadline_ms)
    }

    /// Longest time for a body to arrive.
    #[must_use]
    pub const fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// `[limits]`: what one request may carry. The gateway and the worker both enforce them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// Bytes of one encoded image.
    pub image_bytes: usize,
    /// Pixels of one image.
    pub image_pixels: u64,
    /// Images of one request.
    pub images: usize,
    /// Bytes of a request with images.
    pub request_bytes: usize,
    /// Bytes of a request without images.
    pub json_bytes: usize,
    /// Items of one bulk job.
    pub job_items: usize,
    /// Bytes of an export that is imported.
    pub import_bytes: usize,
}

/// `[worker]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSection {
    /// What computes.
    pub provider: Provider,
    /// Threads of one model run; 0 measures what is best.
    pub session_threads: usize,
    /// Pictures in work at a time; 0 takes as many as models run at a time.
    pub cpu_threads: usize,
    /// Longest side of the detector's canvas.
    pub detector_canvas: u32,
    /// Shortest longer side of the detector's canvas.
    pub detector_canvas_least: u32,
    /// Whether a single face is looked for on a small canvas first.
    pub detector_scouts: bool,
    /// Most tiles of a large picture.
    pub detect_tiles: usize,
    /// Jobs in work from the interactive lane; 0 chooses by cores.
    pub interactive_jobs: usize,
    /// Jobs in work from the bulk lane; 0 chooses by cores.
    pub bulk_jobs: usize,
    /// Pictures of one detector run.
    pub detect_batch: usize,
    /// Faces of one embedder run.
    pub embed_batch: usize,
    /// How long the first item of a batch waits, in milliseconds.
    pub batch_delay_ms: u64,
    /// Pixels being decoded at once.
    pub max_pixels_in_flight: u64,
    /// How long a worker counts as alive after its last word, in milliseconds.
    pub lease_ms: u64,
    /// Silence after which a job is taken over, in milliseconds.
    pub min_idle_ms: u64,
    /// False match rate of a verification by default.
    pub verification_fmr: f64,
}

impl WorkerSection {
    /// How long the first item of a batch waits.
    #[must_use]
    pub const fn batch_delay(&self) -> Duration {
        Duration::from_millis(self.batch_delay_ms)
    }
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// ONNX Runtime's CPU kernels.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// NVIDIA GPUs, with graphs compiled for them.
    Tensorrt,
}

/// How wide the numbers of the embedder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 8-bit integers, from a file that `visavis models quantize` made.
    Int8,
}

/// `[redis]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSection {
    /// Where it is; holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Secret<String>>,
    /// Where the queue's is, if another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_url: Option<Secret<String>>,
    /// First part of every key.
    pub prefix: String,
    /// Certificates to trust, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Own certificate, PEM; given together with the key or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<PathBuf>,
    /// Own key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Longest time to connect, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time for an answer, in milliseconds.
    pub response_timeout_ms: u64,
    /// Most connections of the pool.
    pub connections: usize,
    /// What an erasure does to the server's files.
    pub erase: Erase,
    /// Start on a server that may lose acknowledged changes.
    pub allow_weak_durability: bool,
}

/// What an erasure does to the files of a Redis server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Erase {
    /// Rewrites them before it is acknowledged.
    Rewrite,
    /// Leaves them to the server's own next rewrite.
    Logical,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSection {
    /// Engine.
    pub engine: StoreEngine,
    /// Data directory.
    pub data_dir: PathBuf,
    /// Memory for pages.
    pub cache_bytes: usize,
}

/// Engine of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreEngine {
    /// Embedded, one process at a time.
    Redb,
    /// Shared by processes.
    Redis,
}

/// `[sealing]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealingSection {
    /// Whether anything is sealed.
    pub mode: SealingMode,
    /// File with the key-encryption keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The keys themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret<String>>,
    /// Program and arguments that print the keys; run without a shell.
    pub key_command: Vec<String>,
}

/// Whether what is kept is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SealingMode {
    /// Everything.
    On,
    /// Nothing.
    Off,
}

/// `[gallery]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GallerySection {
    /// Memory for all galleries; 0 sets no bound.
    pub max_bytes: usize,
}

/// `[queue]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSection {
    /// Engine.
    pub engine: QueueEngine,
    /// Jobs that may wait on a lane.
    pub lane_jobs: usize,
    /// Bytes of jobs that may wait on a lane.
    pub lane_bytes: usize,
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSection {
    /// Days that events are kept; 0 for ever.
    pub keep_days: u32,
    /// Seconds after which events are packed, many into one compressed value.
    pub pack_after_seconds: u32,
}

impl AuditSection {
    /// How long events are kept; for ever if none.
    #[must_use]
    pub fn kept(&self) -> Option<Duration> {
        (self.keep_days > 0).then(|| Duration::from_secs(u64::from(self.keep_days) * 24 * 3600))
    }

    /// How old events are when they are packed.
    #[must_use]
    pub fn packed_after(&self) -> Duration {
        Duration::from_secs(self.pack_after_seconds.into())
    }
}

/// Engine of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueEngine {
    /// Within one process.
    Memory,
    /// Shared by processes.
    Redis,
}

/// `[models]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsSection {
    /// Manifest of the detector.
    pub detector: String,
    /// Manifest of the embedder.
    pub embedder: String,
    /// How wide the numbers of the embedder are.
    pub precision: Precision,
    /// Fetched artefacts.
    pub cache_dir: PathBuf,
    /// Further manifests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest_dir: Option<PathBuf>,
    /// ONNX Runtime library to use in place of the pinned one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_library: Option<PathBuf>,
    /// Accepts licences that forbid commercial use.
    pub accept_licence: bool,
    /// Never fetches.
    pub offline: bool,
}

/// `[retention]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSection {
    /// Time between two sweeps, in milliseconds; 0 for none.
    pub sweep_every_ms: u64,
    /// Enrolled subjects of one tenant to warn at; 0 for none.
    pub enrolled_warning: u64,
}

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSection {
    /// Plain HTTP address; port 0 takes any.
    pub listen: SocketAddr,
}

/// `[telemetry]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySection {
    /// Form of a log line.
    pub format: LogFormat,
    /// Which log lines.
    pub filter: String,
    /// Address of an OTLP receiver for traces; none are made without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces_endpoint: Option<String>,
    /// Certificates to trust there, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces_ca_file: Option<PathBuf>,
    /// Of the traces that begin here, how many are kept.
    pub traces_share: f64,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human on a terminal, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// `[shutdown]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShutdownSection {
    /// Grace period, in milliseconds.
    pub grace_ms: u64,
}

impl ShutdownSection {
    /// Grace period.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}
