//! `[gate]`: what is asked of a model before it is promoted. A section of the configuration with its rules; read by the
//! binary, which hands it to the worker.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[gate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSection {
    /// Whether it has to be better on held-out people of the collection.
    pub require_better: bool,
    /// How much worse a measure may be on held-out people.
    pub held_out_margin: f64,
    /// A folder with a folder of photos for each person of a general set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub general_set: Option<PathBuf>,
    /// How much worse a measure may be on the general set.
    pub general_margin: f64,
    /// Whether a general set is needed at all.
    pub require_general_set: bool,
    /// Fewest held-out people with two pictures.
    pub least_subjects: usize,
    /// Most people of a collection that are looked at.
    pub most_subjects: usize,
    /// Resamples behind the intervals.
    pub resamples: usize,
}

impl GateSection {
    /// What of it cannot be.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        for (key, margin) in
            [("gate.held_out_margin", self.held_out_margin), ("gate.general_margin", self.general_margin)]
        {
            if !(0.0..=1.0).contains(&margin) {
                broken.push((key, "must be 0 to 1".into()));
            }
        }
        if self.least_subjects < 2 {
            broken.push(("gate.least_subjects", "must be at least 2".into()));
        }
        if !(self.least_subjects..=2_000).contains(&self.most_subjects) {
            broken.push(("gate.most_subjects", "must be gate.least_subjects to 2000".into()));
        }
        if !(100..=10_000).contains(&self.resamples) {
            broken.push(("gate.resamples", "must be 100 to 10000".into()));
        }
        broken
    }
}
