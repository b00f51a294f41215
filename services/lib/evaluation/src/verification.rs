//! The report of a verification protocol (a list of pairs): accuracy, AUC, EER, TAR at FMR, failures to enrol.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Comparison, EvaluationError, Interval, Roc, ScoreSummary, Scores, Unit, infinite, scores::Item,
};

/// How pairs with a sample that failed to enrol are counted; part of every report.
pub const FAILURE_RULE: &str = "A pair with a failure to enrol is an error in the accuracy. If mated it scores -1, so \
     it never matches; if non-mated it is left out of the false match rate, which it would flatter.";

/// Score of a mated pair that has none: below every threshold, as cosines end at -1.
const FAILED_SCORE: f64 = -1.0;

/// False match rates at which the true accept rate is reported.
const REPORTED_FMR: [f64; 3] = [1e-2, 1e-3, 1e-4];

/// A measure and its confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The measure on the pairs as given.
    pub value: f64,
    /// Its bootstrap interval.
    pub interval: Interval,
}

/// Where the threshold of the accuracy was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdOrigin {
    /// On other pairs: an honest accuracy.
    OtherPairs,
    /// On the very pairs it is measured on: an upper bound.
    SamePairs,
}

/// Share of pairs decided rightly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// The share of all pairs, failures included.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Scores at or above it match.
    pub threshold: f64,
    /// Where the threshold comes from.
    pub threshold_origin: ThresholdOrigin,
    /// Pairs decided rightly.
    pub correct: usize,
    /// FMR at the threshold.
    pub fmr: Estimate,
    /// FNMR at the threshold.
    pub fnmr: Estimate,
}

/// The equal error rate with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EerEstimate {
    /// The rate.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The threshold there.
    pub threshold: f64,
}

/// TAR at an FMR with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TarEstimate {
    /// The limit on the false match rate.
    pub fmr: f64,
    /// The true accept rate.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// The threshold there; infinite (JSON: null) where not even the highest score keeps the limit.
    #[serde(with = "infinite")]
    pub threshold: f64,
    /// Non-mated pairs that the limit allows.
    pub support: u64,
}

/// Samples and pairs without a score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Distinct samples in the pairs.
    pub samples: usize,
    /// Samples that gave no template.
    pub failed_samples: usize,
    /// Mated pairs with such a sample.
    pub mated_pairs: usize,
    /// Non-mated pairs with such a sample.
    pub non_mated_pairs: usize,
}

impl Failures {
    /// Failure to enrol rate: share of the samples that gave no template.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.samples == 0 { 0.0 } else { self.failed_samples as f64 / self.samples as f64 }
    }
}

/// What a verification protocol came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerificationReport {
    /// All pairs.
    pub pairs: usize,
    /// At the threshold.
    pub accuracy: Accuracy,
    /// Area under the ROC curve.
    pub auc: Estimate,
    /// Equal error rate.
    pub eer: EerEstimate,
    /// At the usual false match rates.
    pub tar_at_fmr: Vec<TarEstimate>,
    /// Mated scores that exist.
    pub mated_scores: ScoreSummary,
    /// Non-mated scores that exist.
    pub non_mated_scores: ScoreSummary,
    /// Failures to enrol.
    pub failures: Failures,
    /// How failures are counted.
    pub failure_rule: Cow<'static, str>,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
    /// What was drawn for them.
    pub unit: Unit,
}

impl Scores {
    /// The scores of a protocol under [`FAILURE_RULE`].
    ///
    /// # Errors
    /// As [`Scores::new`].
    pub fn from_comparisons(comparisons: &[Comparison]) -> Result<Self, EvaluationError> {
        let item = |(place, c): (usize, &Comparison)| {
            let score = c.score.or(c.mated.then_some(FAILED_SCORE))?;
            Some(Item { score, mated: c.mated, subjects: c.subjects, place })
        };
        Self::from_items(comparisons.iter().enumerate().filter_map(item).collect())
    }
}

/// The threshold that decides most of these pairs rightly, those apart that have no score and so are errors at any.
///
/// # Errors
/// As [`Scores::new`].
pub fn threshold_from(comparisons: &[Comparison]) -> Result<f64, EvaluationError> {
    let scored: Vec<Comparison> = comparisons.iter().filter(|c| c.score.is_some()).copied().collect();
    Ok(Scores::from_comparisons(&scored)?.best_threshold())
}

/// Evaluates pairs at a threshold, or at the best threshold for these very pairs. `samples` holds the number of
/// distinct samples and of those that failed.
///
/// # Errors
/// When a kind of pair is missing or a score is not finite.
pub fn verification(
    comparisons: &[Comparison],
    samples: (usize, usize),
    threshold: Option<f64>,
    bootstrap: Bootstrap,
) -> Result<VerificationReport, EvaluationError> {
    let scores = Scores::from_comparisons(comparisons)?;
    let failures = failures(comparisons, samples);
    let origin = if threshold.is_some() { ThresholdOrigin::OtherPairs } else { ThresholdOrigin::SamePairs };
    let threshold = threshold.or_else(|| threshold_from(comparisons).ok()).unwrap_or_else(|| scores.best_threshold());
    let pairs = comparisons.len() as f64;
    let measure = |weights: &[u32]| {
        let roc = Roc::weighted(&scores, |i| weights[i]);
        let at = roc.at(threshold);
        let measures = [roc.auc(), roc.eer().rate, at.fmr, 1.0 - at.tar];
        let tars = REPORTED_FMR.map(|r| roc.tar_at_fmr(r).tar);
        measures.into_iter().chain(tars).chain([right_share(&scores, threshold, weights)]).map(Some).collect()
    };
    let draw = bootstrap.draw(&scores);
    let intervals = draw.intervals(measure);
    let interval = |i: usize| intervals.get(i).copied().flatten();
    let rate = |i: usize, value: f64, mated: bool| bootstrap.rate(value, interval(i), draw.units(mated));
    let whole = |i: usize, value: f64| {
        let interval = interval(i).unwrap_or(Interval { low: value, high: value });
        Estimate { value, interval }
    };
    let roc = Roc::new(&scores);
    let (at, correct) = (roc.at(threshold), scores.correct_at(threshold));
    let eer = roc.eer();
    let tar = |(i, fmr): (usize, f64)| {
        let p = roc.tar_at_fmr(fmr);
        TarEstimate { fmr, estimate: rate(4 + i, p.tar, true), threshold: p.threshold, support: p.support }
    };
    let last = 4 + REPORTED_FMR.len();
    // Non-mated failures have no score and are errors all the same.
    let scored = scores.items.len() as f64 / pairs;
    let share = interval(last).map(|i| Interval { low: i.low * scored, high: i.high * scored });
    let value = correct as f64 / pairs;
    Ok(VerificationReport {
        pairs: comparisons.len(),
        accuracy: Accuracy {
            estimate: bootstrap.rate(value, share, draw.units(true) + draw.units(false)),
            threshold,
            threshold_origin: origin,
            correct,
            fmr: rate(2, at.fmr, false),
            fnmr: rate(3, 1.0 - at.tar, true),
        },
        auc: whole(0, roc.auc()),
        eer: EerEstimate { estimate: whole(1, eer.rate), threshold: eer.threshold },
        tar_at_fmr: REPORTED_FMR.into_iter().enumerate().map(tar).collect(),
        mated_scores: scored_summary(&scores, failures.mated_pairs),
        non_mated_scores: scores.summary(false),
        failures,
        failure_rule: Cow::Borrowed(FAILURE_RULE),
        bootstrap,
        unit: draw.unit(),
    })
}

fn failures(comparisons: &[Comparison], (samples, failed_samples): (usize, usize)) -> Failures {
    let failed = |mated: bool| comparisons.iter().filter(|c| c.mated == mated && c.score.is_none()).count();
    Failures { samples, failed_samples, mated_pairs: failed(true), non_mated_pairs: failed(false) }
}

/// Share of the scores decided rightly, each counted as often as it was drawn.
fn right_share(scores: &Scores, threshold: f64, weights: &[u32]) -> f64 {
    let (mut right, mut all) = (0u64, 0u64);
    for (item, &w) in scores.items.iter().zip(weights) {
        all += u64::from(w);
        right += if (item.score >= threshold) == item.mated { u64::from(w) } else { 0 };
    }
    if all == 0 { 0.0 } else { right as f64 / all as f64 }
}

/// Mated scores without the stand-ins of failed pairs, which sort last.
fn scored_summary(scores: &Scores, failed: usize) -> ScoreSummary {
    ScoreSummary::of(scores.of(true).take(scores.mated_count() - failed))
}
