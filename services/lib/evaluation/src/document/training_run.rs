//! What the report of a training run says. Made by the trainer; drawn by [`crate::report::training`].

use domain::{RunFailure, RunLineage, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Paired, RocPoint, VerificationReport};

/// A training run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingRun {
    /// Its id.
    pub run: String,
    /// How it ended.
    pub state: String,
    /// How it learnt.
    pub recipe: String,
    /// Values of the recipe that were replaced, as TOML.
    pub overrides: Vec<(String, String)>,
    /// What it began with, as asked for.
    pub base_model: String,
    /// That model and its licence.
    pub licence: Option<String>,
    /// Whose crops.
    pub collections: Vec<String>,
    /// What the model is for.
    pub purpose: Option<String>,
    /// When it was asked for.
    pub created_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How often another trainer went on with it.
    pub resumes: u32,
    /// How often it began anew without somebody.
    pub restarts: u32,
    /// What it learnt from.
    pub lineage: Option<RunLineage>,
    /// Why it failed.
    pub failure: Option<RunFailure>,
    /// The candidate.
    pub model: Option<String>,
    /// How it learnt, step by step.
    pub steps: Vec<Step>,
    /// Largest difference between the engine that trained it and what serves it.
    pub parity: Option<f32>,
    /// The candidate beside the model it began with.
    pub comparison: Option<Comparison>,
    /// Why there is no such comparison.
    pub not_measured: Option<String>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number.
    pub step: u64,
    /// Loss.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
}

/// Both models on the same comparisons of held-out subjects.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Subjects.
    pub subjects: usize,
    /// Their crops.
    pub crops: usize,
    /// The model it began with: measures and ROC.
    pub base: (VerificationReport, Vec<RocPoint>),
    /// What came of it.
    pub candidate: (VerificationReport, Vec<RocPoint>),
    /// One against the other.
    pub paired: Paired,
}
