//! What the worker tells the monitoring. Units and names as the operations page has them.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use crate::batcher::Observer;

/// Handles to the worker's metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Seconds by stage.
    pub stage_seconds: HistogramVec,
    /// Jobs by kind and outcome (`ok` or the problem's code).
    pub jobs: IntCounterVec,
    /// Jobs being worked on.
    pub jobs_in_flight: IntGauge,
    /// Items per model run, by model role.
    pub batch_size: HistogramVec,
    /// Seconds an item waited for its batch, by model role.
    pub batch_wait: HistogramVec,
    /// Seconds of a batch in the engine, by model role.
    pub model_seconds: HistogramVec,
    /// Best comparison score of each search.
    pub top_score: Histogram,
    /// Decisions by outcome.
    pub decisions: IntCounterVec,
    /// Jobs taken off a lane without being worked on, by reason; `gave_up` are dead letters.
    pub rejected: IntCounterVec,
    /// How often the lease was lost and every gallery let go.
    pub fenced: IntCounter,
    /// Faces enrolled and refused.
    pub enrolled_faces: IntCounterVec,
    /// Embedders that are loaded, 1 each.
    pub models: IntGaugeVec,
    /// Faces looked at by promotions, by what came of it.
    pub reembedded_faces: IntCounterVec,
    /// Models held against the one that answers, by whether they `passed` or were `refused`.
    pub gated: IntCounterVec,
}

impl Metrics {
    /// Makes and registers the metrics.
    ///
    /// # Errors
    /// When the registry already has one of that name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let seconds = exponential_buckets(0.000_25, 2.0, 16)?;
        let tenths: Vec<f64> = (-2..=10).map(|i| f64::from(i) / 10.0).collect();
        let stage = HistogramOpts::new("visavis_stage_seconds", "Seconds of a job by stage");
        let size = HistogramOpts::new("visavis_batch_size", "Items per model run");
        let wait = HistogramOpts::new("visavis_batch_wait_seconds", "Seconds an item waited for its batch");
        let run = HistogramOpts::new("visavis_model_run_seconds", "Seconds of a batch in the engine");
        let top = HistogramOpts::new("visavis_top_score", "Best comparison score of each search").buckets(tenths);
        let metrics = Self {
            stage_seconds: HistogramVec::new(stage.buckets(seconds.clone()), &["stage"])?,
            jobs: IntCounterVec::new(Opts::new("visavis_jobs_total", "Jobs done"), &["kind", "outcome"])?,
            jobs_in_flight: IntGauge::new("visavis_jobs_in_flight", "Jobs being worked on")?,
            batch_size: HistogramVec::new(size.buckets(vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), &["model"])?,
            batch_wait: HistogramVec::new(wait.buckets(seconds.clone()), &["model"])?,
            model_seconds: HistogramVec::new(run.buckets(seconds), &["model"])?,
            top_score: Histogram::with_opts(top)?,
            decisions: IntCounterVec::new(Opts::new("visavis_decisions_total", "Decisions"), &["decision"])?,
            rejected: IntCounterVec::new(
                Opts::new("visavis_jobs_rejected_total", "Jobs not worked on by reason; gave_up are dead letters"),
                &["reason"],
            )?,
            fenced: IntCounter::new("visavis_worker_fenced_total", "Leases lost; every gallery was let go each time")?,
            enrolled_faces: IntCounterVec::new(
                Opts::new("visavis_enrolment_faces_total", "Images at enrolment by outcome"),
                &["outcome"],
            )?,
            models: IntGaugeVec::new(
                Opts::new("visavis_embedder_info", "Embedders that are loaded, 1 each"),
                &["name", "contract"],
            )?,
            reembedded_faces: IntCounterVec::new(
                Opts::new("visavis_reembedded_faces_total", "Faces looked at by promotions, by what came of it"),
                &["outcome"],
            )?,
            gated: IntCounterVec::new(
                Opts::new("visavis_gate_decisions_total", "Models held against the one that answers, by outcome"),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(metrics.stage_seconds.clone()))?;
        registry.register(Box::new(metrics.jobs.clone()))?;
        registry.register(Box::new(metrics.jobs_in_flight.clone()))?;
        registry.register(Box::new(metrics.batch_size.clone()))?;
        registry.register(Box::new(metrics.batch_wait.clone()))?;
        registry.register(Box::new(metrics.model_seconds.clone()))?;
        registry.register(Box::new(metrics.top_score.clone()))?;
        registry.register(Box::new(metrics.decisions.clone()))?;
        registry.register(Box::new(metrics.rejected.clone()))?;
        registry.register(Box::new(metrics.fenced.clone()))?;
        registry.register(Box::new(metrics.enrolled_faces.clone()))?;
        registry.register(Box::new(metrics.models.clone()))?;
        registry.register(Box::new(metrics.reembedded_faces.clone()))?;
        // From 0 on, so that the first of each shows as an increase.
        ["passed", "refused"].iter().for_each(|outcome| drop(metrics.gated.with_label_values(&[*outcome])));
        ["embedded", "without_crop"].iter().for_each(|o| drop(metrics.reembedded_faces.with_label_values(&[*o])));
        registry.register(Box::new(metrics.gated.clone()))?;
        Ok(metrics)
    }
}

impl Observer for Metrics {
    fn batch(&self, model: &'static str, waits: &[Duration]) {
        #[expect(clippy::cast_precision_loss, reason = "batches are small")]
        self.batch_size.with_label_values(&[model]).observe(waits.len() as f64);
        let wait = self.batch_wait.with_label_values(&[model]);
        waits.iter().for_each(|w| wait.observe(w.as_secs_f64()));
    }

    fn ran(&self, model: &'static str, elapsed: Duration) {
        self.model_seconds.with_label_values(&[model]).observe(elapsed.as_secs_f64());
    }
}
