//! Sends ended spans to an OTLP receiver over HTTP, some at a time, in a task beside everything else. A receiver that is
//! slow or away costs spans, which are counted, and nothing else. Started by the binary where an address is configured.

use std::{path::PathBuf, time::Duration};

use domain::ErrorCode;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use reqwest::{Certificate, Client, Url};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{Ended, Tracer, otlp::ExportTraceServiceRequest};

/// Spans that may wait: seconds of a busy process.
const ROOM: usize = 8192;
/// Spans sent together.
const TOGETHER: usize = 512;
/// Longest time a span waits for others.
const WAIT: Duration = Duration::from_secs(1);
/// Longest time for one attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Attempts before spans are given up, and the pause after the first; it doubles.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// Longest time for what is left when the process ends.
const LAST: Duration = Duration::from_secs(2);
/// Where OTLP over HTTP takes traces.
const PATH: &str = "v1/traces";

/// Where spans go and what they say of the process.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Address of the receiver without the path: `http://collector:4318`.
    pub endpoint: String,
    /// Certificates to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Of the traces that begin here, how many are kept, 0 to 1.
    pub share: f64,
    /// Attributes of the process, such as `service.name`.
    pub process: Vec<(&'static str, String)>,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The address is none.
    #[error("the address of the trace receiver cannot be used: {0}")]
    Endpoint(String),
    /// The certificates cannot be used, or there is no TLS.
    #[error("the trace receiver's certificates cannot be used: {0}")]
    Tls(String),
    /// Metrics of these names exist.
    #[error("the metrics of traces cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl TraceError {
    /// The code a caller would see; nobody does, since it is found at the start.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}

/// Sends what the tracer hands on.
pub struct Exporter {
    spans: mpsc::Receiver<Ended>,
    client: Client,
    url: Url,
    process: Vec<(&'static str, String)>,
    sent: IntCounter,
    failed: IntCounter,
    away: bool,
}

impl Exporter {
    /// A tracer and the exporter of its spans.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn new(options: &ExportOptions, registry: &Registry) -> Result<(Tracer, Self), TraceError> {
        let url = format!("{}/{PATH}", options.endpoint.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|e| TraceError::Endpoint(e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TraceError::Endpoint("it must begin with http:// or https://".into()));
        }
        let counts = IntCounterVec::new(
            Opts::new(
                "visavis_trace_spans_total",
                "Spans by what became of them: sent, failed, or dropped for want of room",
            ),
            &["outcome"],
        )?;
        registry.register(Box::new(counts.clone()))?;
        let (tracer, spans) = Tracer::new(options.share, ROOM, Some(counts.with_label_values(&["dropped"])));
        let (sent, failed) = (counts.with_label_values(&["sent"]), counts.with_label_values(&["failed"]));
        let process = options.process.clone();
        Ok((tracer, Self { spans, client: client(options)?, url, process, sent, failed, away: false }))
    }

    /// Sends until `stop`, then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(TOGETHER);
        let mut tick = tokio::time::interval(WAIT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = TOGETHER - batch.len();
            let due = tokio::select! {
                () = stop.cancelled() => break,
                taken = self.spans.recv_many(&mut batch, room) => {
                    if taken == 0 { break }
                    batch.len() >= TOGETHER
                }
                _ = tick.tick() => true,
            };
            if due && !batch.is_empty() {
                self.send(&batch).await;
                batch.clear();
            }
        }
        self.spans.close();
        let rest = async {
            while self.spans.recv_many(&mut batch, ROOM).await > 0 {}
            for some in batch.chunks(TOGETHER) {
                self.send(some).await;
            }
        };
        if tokio::time::timeout(LAST, rest).await.is_err() {
            tracing::warn!("the last spans could not be sent in time");
        }
    }

    /// Sends, or gives up; the log hears of the first failure and of the first success after it.
    async fn send(&mut self, spans: &[Ended]) {
        let body = ExportTraceServiceRequest::of(&self.process, spans).to_bytes();
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let why = match self.post(body.clone()).await {
                Ok(()) => {
                    self.sent.inc_by(spans.len() as u64);
                    if std::mem::take(&mut self.away) {
                        tracing::info!("the trace receiver takes spans again");
                    }
                    return;
                }
                Err(Refusal { why, again }) => {
                    if again && attempt < ATTEMPTS {
                        tokio::time::sleep(pause).await;
                        pause *= 2;
                        continue;
                    }
                    why
                }
            };
            self.failed.inc_by(spans.len() as u64);
            if !std::mem::replace(&mut self.away, true) {
                tracing::warn!(why, "spans are lost: the trace receiver does not take them");
            }
            return;
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Refusal> {
        let request = self.client.post(self.url.clone()).header("content-type", "application/x-protobuf").body(body);
        // Without the address, which may hold a password.
        let answer = request.send().await.map_err(|e| Refusal { why: e.without_url().to_string(), again: true })?;
        let status = answer.status().as_u16();
        match status {
            200..=299 => Ok(()),
            // Those that the protocol says to repeat.
            429 | 502..=504 => Err(Refusal { why: format!("it answered {status}"), again: true }),
            _ => Err(Refusal { why: format!("it answered {status}"), again: false }),
        }
    }
}

struct Refusal {
    why: String,
    again: bool,
}

fn client(options: &ExportOptions) -> Result<Client, TraceError> {
    let mut builder = Client::builder().no_proxy().timeout(PATIENCE);
    if let Some(file) = &options.ca_file {
        let unusable = |e: &dyn std::fmt::Display| TraceError::Tls(format!("{}: {e}", file.display()));
        let pem = std::fs::read(file).map_err(|e| unusable(&e))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| unusable(&e))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|e| TraceError::Tls(e.to_string()))
}
