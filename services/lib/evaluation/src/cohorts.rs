//! Error rates by cohort at one common threshold, and how far each cohort is from the rest. Comparisons count where
//! both samples are of one cohort: strangers of one cohort are more alike than strangers at large, so mixing hides
//! gaps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Comparison, Estimate, bootstrap::Draw};

/// A cohort's rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortRow {
    /// Its label.
    pub cohort: String,
    /// Mated comparisons, failures to enrol included.
    pub mated: usize,
    /// Non-mated comparisons that have a score.
    pub non_mated: usize,
    /// False non-match rate; `None` without mated comparisons.
    pub fnmr: Option<Estimate>,
    /// False match rate; `None` without non-mated comparisons.
    pub fmr: Option<Estimate>,
    /// False non-match rate minus that of all other cohorts together.
    pub fnmr_difference: Option<Estimate>,
    /// False match rate minus that of all other cohorts together.
    pub fmr_difference: Option<Estimate>,
}

/// All cohorts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortReport {
    /// The common threshold.
    pub threshold: f64,
    /// By label.
    pub rows: Vec<CohortRow>,
    /// Comparisons between cohorts, or with a sample that has no label: in no row.
    pub left_out: usize,
}

/// Rates of every cohort; `names` are the labels that the comparisons' cohort numbers stand for. Mated comparisons
/// without a score are misses, non-mated ones are left out. `None` when no comparison has a cohort.
#[must_use]
pub fn cohorts(
    comparisons: &[Comparison],
    names: &[String],
    threshold: f64,
    bootstrap: Bootstrap,
) -> Option<CohortReport> {
    let counted = |c: &&Comparison| c.cohort.is_some() && (c.mated || c.score.is_some());
    let labelled: Vec<&Comparison> = comparisons.iter().filter(counted).collect();
    let present: Vec<u32> = (0..names.len() as u32).filter(|n| labelled.iter().any(|c| c.cohort == Some(*n))).collect();
    if present.is_empty() {
        return None;
    }
    let wrong = |c: &Comparison| c.score.is_some_and(|s| s >= threshold) != c.mated;
    // FNMR, FMR and both differences for each cohort, one after the other.
    let measure = |weights: &[u32]| -> Vec<Option<f64>> {
        let mut counts = vec![[[0u64; 2]; 2]; names.len()];
        for (c, &w) in labelled.iter().zip(weights) {
            if let Some(of) = c.cohort.and_then(|n| counts.get_mut(n as usize)) {
                let [errors, all] = &mut of[usize::from(!c.mated)];
                *all += u64::from(w);
                *errors += if wrong(c) { u64::from(w) } else { 0 };
            }
        }
        present.iter().flat_map(|&n| rates(&counts, n as usize)).collect()
    };
    let draw = Draw::new(&bootstrap, labelled.iter().map(|c| (c.mated, c.subjects)));
    let (values, intervals) = (measure(&vec![1; labelled.len()]), draw.intervals(measure));
    let difference = |i: usize| Some(Estimate { value: values[i]?, interval: intervals[i]? });
    let rate = |i: usize, trials: usize| Some(bootstrap.rate(values[i]?, intervals[i], trials));
    // As many trials as there are comparisons, or people if these are fewer.
    let units = |n: u32, mated: bool| {
        let of: Vec<&&Comparison> = labelled.iter().filter(|c| c.cohort == Some(n) && c.mated == mated).collect();
        let people: Option<BTreeSet<u32>> =
            of.iter().map(|c| c.subjects).collect::<Option<Vec<_>>>().map(|s| s.into_iter().flatten().collect());
        people.map_or(of.len(), |p| p.len().min(of.len()))
    };
    let rows = present.iter().enumerate().map(|(i, &n)| {
        let of = |mated: bool| labelled.iter().filter(|c| c.cohort == Some(n) && c.mated == mated).count();
        CohortRow {
            cohort: names[n as usize].clone(),
            mated: of(true),
            non_mated: of(false),
            fnmr: rate(4 * i, units(n, true)),
            fmr: rate(4 * i + 1, units(n, false)),
            fnmr_difference: difference(4 * i + 2),
            fmr_difference: difference(4 * i + 3),
        }
    });
    let mut rows: Vec<CohortRow> = rows.collect();
    rows.sort_by(|a, b| a.cohort.cmp(&b.cohort));
    let left_out = comparisons.iter().filter(|c| c.cohort.is_none()).count();
    Some(CohortReport { threshold, rows, left_out })
}

/// FNMR and FMR of one cohort, and both minus those of the others, from errors and comparisons by cohort and kind.
fn rates(counts: &[[[u64; 2]; 2]], cohort: usize) -> [Option<f64>; 4] {
    let rate = |[errors, all]: [u64; 2]| (all > 0).then(|| errors as f64 / all as f64);
    let others = |kind: usize| {
        let of = counts.iter().enumerate().filter(|(n, _)| *n != cohort).map(|(_, c)| c[kind]);
        of.fold([0, 0], |sum, c| [sum[0] + c[0], sum[1] + c[1]])
    };
    let own = [0, 1].map(|kind| rate(counts[cohort][kind]));
    let gap = [0, 1].map(|kind| Some(own[kind]? - rate(others(kind))?));
    [own[0], own[1], gap[0], gap[1]]
}
