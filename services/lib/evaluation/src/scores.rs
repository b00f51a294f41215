//! Comparison scores with their truth, sorted once; every measure is a pass over them.

use serde::{Deserialize, Serialize};

use crate::EvaluationError;

/// One comparison of a protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Both samples are of one person.
    pub mated: bool,
    /// Comparison score, higher is more alike; `None` when a sample failed to enrol.
    pub score: Option<f64>,
    /// Numbers of the two subjects, equal if mated, where they are known: intervals then resample subjects.
    pub subjects: Option<[u32; 2]>,
    /// Number of the cohort that both samples belong to; `None` when they differ or it is not known.
    pub cohort: Option<u32>,
}

impl Comparison {
    /// A comparison of which no more is known than its truth and its score.
    #[must_use]
    pub const fn new(mated: bool, score: Option<f64>) -> Self {
        Self { mated, score, subjects: None, cohort: None }
    }
}

/// A comparison with a score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub score: f64,
    pub mated: bool,
    pub subjects: Option<[u32; 2]>,
    /// Place in the list it comes from.
    pub place: usize,
}

/// Mated and non-mated scores.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Highest score first.
    pub(crate) items: Vec<Item>,
    mated: usize,
}

/// Mean and spread of one kind of scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreSummary {
    /// Number of scores.
    pub count: usize,
    /// Arithmetic mean; 0 without scores.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1); 0 for a single score.
    pub sd: f64,
}

impl ScoreSummary {
    /// Of any scores.
    #[must_use]
    pub fn of(scores: impl Iterator<Item = f64> + Clone) -> Self {
        let count = scores.clone().count();
        let mean = if count == 0 { 0.0 } else { scores.clone().sum::<f64>() / count as f64 };
        let squares: f64 = scores.map(|s| (s - mean).powi(2)).sum();
        let sd = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Self { count, mean, sd }
    }
}

impl Scores {
    /// Scores of comparisons between samples of one person and of different persons, in any order.
    ///
    /// # Errors
    /// When either kind is missing or a score is not finite.
    pub fn new(mated: &[f64], non_mated: &[f64]) -> Result<Self, EvaluationError> {
        let all = mated.iter().map(|s| (*s, true)).chain(non_mated.iter().map(|s| (*s, false)));
        let item = |(place, (score, mated))| Item { score, mated, subjects: None, place };
        Self::from_items(all.enumerate().map(item).collect())
    }

    pub(crate) fn from_items(mut items: Vec<Item>) -> Result<Self, EvaluationError> {
        let mated = items.iter().filter(|i| i.mated).count();
        let non_mated = items.len() - mated;
        if mated == 0 || non_mated == 0 {
            return Err(EvaluationError::TooFew { mated, non_mated });
        }
        if items.iter().any(|i| !i.score.is_finite()) {
            return Err(EvaluationError::NotFinite);
        }
        items.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Self { items, mated })
    }

    /// Number of mated scores.
    #[must_use]
    pub const fn mated_count(&self) -> usize {
        self.mated
    }

    /// Number of non-mated scores.
    #[must_use]
    pub const fn non_mated_count(&self) -> usize {
        self.items.len() - self.mated
    }

    /// Scores of one kind, highest first.
    pub fn of(&self, mated: bool) -> impl Iterator<Item = f64> + Clone + '_ {
        self.items.iter().filter(move |i| i.mated == mated).map(|i| i.score)
    }

    /// Mean and spread of one kind.
    #[must_use]
    pub fn summary(&self, mated: bool) -> ScoreSummary {
        ScoreSummary::of(self.of(mated))
    }

    /// How many comparisons are decided rightly at a threshold.
    #[must_use]
    pub fn correct_at(&self, threshold: f64) -> usize {
        self.items.iter().filter(|i| (i.score >= threshold) == i.mated).count()
    }

    /// The threshold that decides most comparisons rightly: midway between two neighbouring scores. Of several that
    /// are equally good, the middle one.
    #[must_use]
    pub fn best_threshold(&self) -> f64 {
        // Above every score: only the non-mated ones are right.
        let mut correct = self.non_mated_count();
        let mut best = (correct, vec![self.items[0].score.next_up()]);
        for (i, &Item { score, mated, .. }) in self.items.iter().enumerate() {
            if mated {
                correct += 1
            } else {
                correct -= 1
            }
            let next = self.items.get(i + 1).map_or(f64::NEG_INFINITY, |n| n.score);
            if next == score {
                continue;
            }
            let candidate = if next.is_finite() { f64::midpoint(score, next) } else { score };
            if correct > best.0 {
                best = (correct, vec![candidate]);
            } else if correct == best.0 {
                best.1.push(candidate);
            }
        }
        best.1[best.1.len() / 2]
    }
}
