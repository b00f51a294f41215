//! What a run tells while it goes on, and how it is told to stop. Implemented by the terminal and by the trainer role.

use serde::{Deserialize, Serialize};

/// Hears of a run.
pub trait Progress {
    /// Something happened. Called after every step and every few photos, from the run's own thread.
    fn at(&mut self, event: &Event<'_>) -> Next;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// Put down the state and stop; the same call goes on from there later.
    Stop,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// So much of a phase that is no training is done.
    Phase {
        /// Which.
        phase: Phase,
        /// Photos done.
        done: usize,
        /// Photos in all.
        of: usize,
    },
    /// A step was made.
    Step(&'a StepReport),
    /// The model was validated.
    Validated(&'a ValidationReport),
}

/// What is done beside training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Every photo is read once.
    Reading,
    /// Templates or features are made with the model that training begins with.
    Embedding,
    /// People who were held out are compared.
    Evaluating,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Its number, the first is 1.
    pub step: u64,
    /// The last one's number.
    pub of: u64,
    /// How often all photos have been seen.
    pub epoch: f64,
    /// What was minimised, mean over the batch.
    pub loss: f64,
    /// Its part that tells people apart.
    pub classification: f64,
    /// Its part that stays close to the first model.
    pub distillation: f64,
    /// Share of photos taken for the right person, margin left aside.
    pub accuracy: f64,
    /// Learning rate.
    pub lr: f64,
    /// Length of the gradient before clipping.
    pub gradient: f64,
    /// Photos a second in this step.
    pub images_per_second: f64,
    /// Seconds until the last step, at the pace so far.
    pub eta_seconds: f64,
}

/// One validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// After this step; 0 is before the first.
    pub step: u64,
    /// How often all photos have been seen.
    pub epoch: f64,
    /// True accept rate at [`Self::fmr`].
    pub tar: f64,
    /// False match rate that was allowed.
    pub fmr: f64,
    /// Area under the ROC.
    pub auc: f64,
    /// Whether it is the best so far.
    pub best: bool,
}
