//! Comparison scores with their truth, sorted once; every measure is a pass over them.

use serde::Serialize;

use crate::EvaluationError;

/// One comparison of a protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Both samples are of one person.
    pub mated: bool,
    /// Comparison score, higher is more alike; `None` when a sample failed to enrol.
    pub score: Option<f64>,
}

/// Mated and non-mated scores.
#[derive(Clone, Debug)]
pub struct Scores {
    /// Score and truth, highest score first.
    pub(crate) items: Vec<(f64, bool)>,
    mated: usize,
}

/// Mean and spread of one kind of scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreSummary {
    /// Number of scores.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1); 0 for a single score.
    pub sd: f64,
}

impl Scores {
    /// Scores of comparisons between samples of one person and of different persons, in any order.
    ///
    /// # Errors
    /// When either kind is missing or a score is not finite.
    pub fn new(mated: &[f64], non_mated: &[f64]) -> Result<Self, EvaluationError> {
        if mated.is_empty() || non_mated.is_empty() {
            return Err(EvaluationError::TooFew { mated: mated.len(), non_mated: non_mated.len() });
        }
        let tagged = |scores: &[f64], truth| scores.iter().map(move |&s| (s, truth)).collect::<Vec<_>>();
        let mut items = tagged(mated, true);
        items.extend(tagged(non_mated, false));
        if items.iter().any(|(s, _)| !s.is_finite()) {
            return Err(EvaluationError::NotFinite);
        }
        items.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(Self { items, mated: mated.len() })
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
    pub fn of(&self, mated: bool) -> impl Iterator<Item = f64> + '_ {
        self.items.iter().filter(move |(_, m)| *m == mated).map(|&(s, _)| s)
    }

    /// Mean and spread of one kind.
    #[must_use]
    pub fn summary(&self, mated: bool) -> ScoreSummary {
        let count = if mated { self.mated_count() } else { self.non_mated_count() };
        let mean = self.of(mated).sum::<f64>() / count as f64;
        let squares: f64 = self.of(mated).map(|s| (s - mean).powi(2)).sum();
        let sd = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        ScoreSummary { count, mean, sd }
    }

    /// How many comparisons are decided rightly at a threshold.
    #[must_use]
    pub fn correct_at(&self, threshold: f64) -> usize {
        self.items.iter().filter(|&&(s, mated)| (s >= threshold) == mated).count()
    }

    /// The threshold that decides most comparisons rightly: midway between two neighbouring scores. Of several that
    /// are equally good, the middle one.
    #[must_use]
    pub fn best_threshold(&self) -> f64 {
        // Above every score: only the non-mated ones are right.
        let mut correct = self.non_mated_count();
        let mut best = (correct, vec![self.items[0].0.next_up()]);
        for (i, &(score, mated)) in self.items.iter().enumerate() {
            if mated {
                correct += 1
            } else {
                correct -= 1
            }
            let next = self.items.get(i + 1).map_or(f64::NEG_INFINITY, |n| n.0);
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
