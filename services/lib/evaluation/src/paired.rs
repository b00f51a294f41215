//! Two runs of one protocol against each other: how much better the second is, with intervals from the same resamples
//! for both. Far sharper than two intervals side by side, since both runs meet the same hard pictures. Used by the gate
//! between two models.

use serde::{Deserialize, Serialize};

use crate::{
    Bootstrap, Comparison, Estimate, EvaluationError, Roc, Scores, Search, Unit,
    bootstrap::Draw,
    identification::{self, Walk},
};

/// A measure in both runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// What is measured, such as `tar_at_fmr_1e-3`.
    pub measure: String,
    /// In the first run.
    pub first: f64,
    /// In the second run.
    pub second: f64,
    /// Second minus first, with its interval.
    pub difference: Estimate,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// All measures of two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// By measure.
    pub differences: Vec<Difference>,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
    /// What was drawn for them.
    pub unit: Unit,
}

impl Difference {
    /// Better than chance explains.
    #[must_use]
    pub fn is_better(&self) -> bool {
        let i = self.difference.interval;
        if self.higher_is_better { i.low > 0.0 } else { i.high < 0.0 }
    }

    /// Perhaps worse by more than `margin`.
    #[must_use]
    pub fn may_be_worse_by(&self, margin: f64) -> bool {
        let i = self.difference.interval;
        if self.higher_is_better { i.low < -margin } else { i.high > margin }
    }
}

impl Paired {
    /// A measure by its name.
    #[must_use]
    pub fn get(&self, measure: &str) -> Option<&Difference> {
        self.differences.iter().find(|d| d.measure == measure)
    }
}

/// Compares two runs over the same pairs in the same order: `auc`, `eer`, `tar_at_fmr_1e-2`, `…1e-3`, `…1e-4`.
///
/// # Errors
/// [`EvaluationError::NotPaired`] for different lists, and as [`Scores::from_comparisons`].
pub fn paired_verification(
    first: &[Comparison],
    second: &[Comparison],
    bootstrap: Bootstrap,
) -> Result<Paired, EvaluationError> {
    let alike = |(a, b): (&Comparison, &Comparison)| a.mated == b.mated && a.subjects == b.subjects;
    if first.len() != second.len() || !first.iter().zip(second).all(alike) {
        return Err(EvaluationError::NotPaired);
    }
    let runs = [Scores::from_comparisons(first)?, Scores::from_comparisons(second)?];
    let measures = |weights: &[u32]| {
        // Both runs sort the list their own way, and share what was drawn.
        let of = |scores: &Scores| {
            let roc = Roc::weighted(scores, |i| weights[scores.items[i].place]);
            let tars = [1e-2, 1e-3, 1e-4].map(|fmr| Some(roc.tar_at_fmr(fmr).tar));
            [Some(roc.auc()), Some(roc.eer().rate)].into_iter().chain(tars).collect::<Vec<_>>()
        };
        [of(&runs[0]), of(&runs[1])]
    };
    let names = [
        ("auc", true),
        ("eer", false),
        ("tar_at_fmr_1e-2", true),
        ("tar_at_fmr_1e-3", true),
        ("tar_at_fmr_1e-4", true),
    ];
    let draw = Draw::new(&bootstrap, first.iter().map(|c| (c.mated, c.subjects)));
    Ok(paired(&names, &draw, first.len(), measures, bootstrap))
}

/// Compares two runs of the same searches in the same order: `rank_1`, `fnir_at_fpir_1e-3`, `…1e-2`, `…1e-1`. A measure
/// that a run does not have, for want of strangers for instance, is left out.
///
/// # Errors
/// [`EvaluationError::NotPaired`] for different lists, [`EvaluationError::NoSearches`] for empty ones.
pub fn paired_identification(
    first: &[Search],
    second: &[Search],
    bootstrap: Bootstrap,
) -> Result<Paired, EvaluationError> {
    let alike = |(a, b): (&Search, &Search)| a.mated == b.mated && a.subject == b.subject;
    if first.len() != second.len() || !first.iter().zip(second).all(alike) {
        return Err(EvaluationError::NotPaired);
    }
    if first.is_empty() {
        return Err(EvaluationError::NoSearches);
    }
    let runs = [Walk::new(first, 1, &[]), Walk::new(second, 1, &[])];
    let measures = |weights: &[u32]| {
        runs.each_ref().map(|of| {
            let fnir = [1e-3, 1e-2, 1e-1].map(|fpir| of.fnir_at_fpir(weights, fpir));
            std::iter::once(of.rank(weights, 1)).chain(fnir).collect::<Vec<_>>()
        })
    };
    let names =
        [("rank_1", true), ("fnir_at_fpir_1e-3", false), ("fnir_at_fpir_1e-2", false), ("fnir_at_fpir_1e-1", false)];
    let draw = identification::draw(&bootstrap, first);
    Ok(paired(&names, &draw, first.len(), measures, bootstrap))
}

fn paired(
    names: &[(&str, bool)],
    draw: &Draw<'_>,
    items: usize,
    measures: impl Fn(&[u32]) -> [Vec<Option<f64>>; 2],
    bootstrap: Bootstrap,
) -> Paired {
    let gaps = |[a, b]: [Vec<Option<f64>>; 2]| a.into_iter().zip(b).map(|(a, b)| Some(b? - a?)).collect::<Vec<_>>();
    let [first, second] = measures(&vec![1; items]);
    let intervals = draw.intervals(|weights| gaps(measures(weights)));
    let whole = names.iter().zip(first).zip(second).zip(intervals);
    let differences = whole.filter_map(|((((name, higher), a), b), interval)| {
        let (first, second) = (a?, b?);
        let difference = Estimate { value: second - first, interval: interval? };
        Some(Difference { measure: (*name).to_owned(), first, second, difference, higher_is_better: *higher })
    });
    Paired { differences: differences.collect(), bootstrap, unit: draw.unit() }
}
