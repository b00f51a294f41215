//! What a trainer tells the monitoring. It carries out one run at a time, so that gauges need no labels.

use domain::{RunFailureCode, RunProgress};
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Handles to the trainer's metrics; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Runs that ended here, by outcome: `done`, `cancelled` or the code of a failure.
    pub runs: IntCounterVec,
    /// Runs taken up that another trainer had begun.
    pub resumed: IntCounter,
    /// Runs begun anew without somebody.
    pub restarted: IntCounter,
    /// Whether there is a run.
    pub active: IntGauge,
    /// Steps done.
    step: IntGauge,
    /// Steps there will be.
    steps: IntGauge,
    loss: Gauge,
    learning_rate: Gauge,
    images_per_second: Gauge,
}

impl Metrics {
    /// Makes and registers the metrics.
    ///
    /// # Errors
    /// When the registry already has one of that name.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let runs = Opts::new("visavis_training_runs_total", "Training runs that ended here by outcome");
        let metrics = Self {
            runs: IntCounterVec::new(runs, &["outcome"])?,
            resumed: IntCounter::new("visavis_training_resumed_total", "Training runs gone on with from a checkpoint")?,
            restarted: IntCounter::new(
                "visavis_training_restarted_total",
                "Training runs begun anew without somebody who must not be in them any more",
            )?,
            active: IntGauge::new("visavis_training_active", "Training runs under way")?,
            step: IntGauge::new("visavis_training_step", "Steps done of the run under way")?,
            steps: IntGauge::new("visavis_training_steps", "Steps of the run under way")?,
            loss: Gauge::new("visavis_training_loss", "Loss of the last step")?,
            learning_rate: Gauge::new("visavis_training_learning_rate", "Learning rate of the last step")?,
            images_per_second: Gauge::new("visavis_training_images_per_second", "Pictures learnt from a second")?,
        };
        // From 0 on: a series that begins with its first failure shows no increase, and no alert would see it.
        let failures = RunFailureCode::ALL.iter().map(|c| c.as_str());
        failures.chain(["done", "cancelled"]).for_each(|outcome| drop(metrics.runs.with_label_values(&[outcome])));
        registry.register(Box::new(metrics.runs.clone()))?;
        registry.register(Box::new(metrics.resumed.clone()))?;
        registry.register(Box::new(metrics.restarted.clone()))?;
        registry.register(Box::new(metrics.active.clone()))?;
        registry.register(Box::new(metrics.step.clone()))?;
        registry.register(Box::new(metrics.steps.clone()))?;
        registry.register(Box::new(metrics.loss.clone()))?;
        registry.register(Box::new(metrics.learning_rate.clone()))?;
        registry.register(Box::new(metrics.images_per_second.clone()))?;
        Ok(metrics)
    }

    /// Shows how far it has come.
    pub fn show(&self, p: &RunProgress) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.step.set(whole(p.step));
        self.steps.set(whole(p.steps));
        self.loss.set(p.loss.into());
        self.learning_rate.set(p.learning_rate.into());
        self.images_per_second.set(p.images_per_second.into());
    }
}
