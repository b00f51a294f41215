//! The gateway's numbers, registered in the registry that the admin server shows.

mod tenants;

use std::{sync::Arc, time::Duration};

use domain::TenantId;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use wire::v1::Reply;

use self::tenants::{ByTenant, Enrolled};

/// Counters, histograms and gauges of the gateway.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    stages: HistogramVec,
    refusals: IntCounterVec,
    refusal_seconds: Histogram,
    tenants: Arc<ByTenant>,
    /// Subjects of each collection.
    pub enrolled: Arc<Enrolled>,
    /// Subjects erased because they were kept too long, by reason.
    pub retention_erased: IntCounterVec,
    /// Requests being worked on.
    pub in_flight: IntGauge,
    /// Connections of callers.
    pub connections: IntGauge,
    /// Jobs being waited for.
    pub pending: IntGauge,
    /// Workers that take jobs.
    pub workers: IntGauge,
    /// Jobs nobody has taken, by lane.
    pub queue_depth: IntGaugeVec,
    /// Jobs being worked on, by lane.
    pub queue_in_flight: IntGaugeVec,
    /// How long the oldest job has waited, by lane.
    pub queue_oldest: GaugeVec,
    /// Jobs given up and kept for an operator, by lane.
    pub queue_dead: IntGaugeVec,
}

/// Upper edges in seconds, from a health check to the longest deadline.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

impl Metrics {
    /// Registers everything; `tenants` tenants, and as many collections, have numbers of their own.
    pub fn new(registry: &Registry, tenants: usize) -> Result<Self, prometheus::Error> {
        let labels = ["route", "method", "status"];
        let seconds = |name, help| HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let metrics = Self {
            requests: IntCounterVec::new(Opts::new("visavis_http_requests_total", "Requests answered"), &labels)?,
            seconds: HistogramVec::new(seconds("visavis_http_request_duration_seconds", "Time to answer"), &labels)?,
            stages: HistogramVec::new(
                seconds("visavis_request_stage_seconds", "Time per stage as workers report it"),
                &["stage"],
            )?,
            tenants: Arc::new(ByTenant::new(registry, tenants)?),
            enrolled: Arc::new(Enrolled::new(registry, tenants)?),
            retention_erased: IntCounterVec::new(
                Opts::new("visavis_retention_erased_total", "Subjects erased because they were kept too long"),
                &["reason"],
            )?,
            in_flight: IntGauge::new("visavis_http_requests_in_flight", "Requests being worked on")?,
            connections: IntGauge::new("visavis_connections", "Connections of callers")?,
            pending: IntGauge::new("visavis_gateway_pending_jobs", "Jobs being waited for")?,
            workers: IntGauge::new("visavis_workers", "Workers that take jobs, as this gateway sees them")?,
            refusals: IntCounterVec::new(
                Opts::new("visavis_requests_refused_total", "Requests refused before their body was read"),
                &["reason"],
            )?,
            refusal_seconds: Histogram::with_opts(seconds(
                "visavis_refusal_duration_seconds",
                "Time from a request's head to its refusal with 503",
            ))?,
            queue_depth: IntGaugeVec::new(Opts::new("visavis_queue_depth", "Jobs nobody has taken"), &["lane"])?,
            queue_in_flight: IntGaugeVec::new(Opts::new("visavis_queue_in_flight", "Jobs being worked on"), &["lane"])?,
            queue_oldest: GaugeVec::new(
                Opts::new("visavis_queue_oldest_age_seconds", "How long the oldest job has waited"),
                &["lane"],
            )?,
            queue_dead: IntGaugeVec::new(
                Opts::new("visavis_queue_dead_letters", "Jobs given up and kept for an operator"),
                &["lane"],
            )?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.stages.clone()))?;
        registry.register(Box::new(metrics.retention_erased.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.workers.clone()))?;
        registry.register(Box::new(metrics.refusals.clone()))?;
        registry.register(Box::new(metrics.refusal_seconds.clone()))?;
        registry.register(Box::new(metrics.queue_dead.clone()))?;
        registry.register(Box::new(metrics.queue_depth.clone()))?;
        registry.register(Box::new(metrics.queue_in_flight.clone()))?;
        registry.register(Box::new(metrics.queue_oldest.clone()))?;
        Ok(metrics)
    }

    /// One answered request. `route` is the template, never the path itself.
    pub fn answered(&self, route: &str, method: &str, status: u16, took: Duration) {
        let class = class(status);
        let method = match method {
            m @ ("GET" | "POST" | "PATCH" | "PUT" | "DELETE" | "HEAD" | "OPTIONS") => m,
            _ => "other",
        };
        self.requests.with_label_values(&[route, method, class]).inc();
        self.seconds.with_label_values(&[route, method, class]).observe(took.as_secs_f64());
        if status == 503 {
            self.refusal_seconds.observe(took.as_secs_f64());
        }
    }

    /// One answered request of a caller who is known.
    pub fn answered_tenant(&self, tenant: &TenantId, status: u16) {
        self.tenants.answered(tenant, class(status));
    }

    /// One refused request. `reason` is one of a few fixed words.
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// The stages of one reply.
    pub fn stages(&self, reply: &Reply) {
        for t in &reply.timings {
            if let Some(name) = stage(&t.stage) {
                #[expect(clippy::cast_precision_loss, reason = "microseconds of one request")]
                self.stages.with_label_values(&[name]).observe(t.micros as f64 / 1e6);
            }
        }
    }
}

/// The class of a status, as a label.
const fn class(status: u16) -> &'static str {
    match status {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// Stages that answers and metrics name; others are of a newer worker and stay out of labels and headers.
pub(crate) fn stage(name: &str) -> Option<&'static str> {
    const STAGES: [&str; 8] = ["queue", "decode", "detect", "align", "embed", "search", "store", "batch"];
    STAGES.into_iter().find(|s| *s == name)
}

/// Counts one up for as long as it lives.
pub(crate) struct Gauged(IntGauge);

impl Gauged {
    /// Counts up now and down when dropped.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.0.dec();
    }
}
