//! Open-set identification after ISO/IEC 19795-1 and the terms of NIST's 1:N evaluations: rank-k rates (CMC), and FNIR
//! at a limit on FPIR. The gallery is held fixed; intervals draw the people searched for.

mod walk;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, Estimate, EvaluationError, Unit, bootstrap::Draw};
pub(crate) use walk::Walk;

/// How failures to enrol and ties are counted; part of every report.
pub const SEARCH_RULE: &str = "A mated search misses when its probe or every picture of its subject failed to enrol. A \
     non-mated search whose probe failed is left out of FPIR, which it would flatter. A tie counts against the subject \
     searched for.";

/// Ranks that are reported with an interval.
pub const RANKS: [u32; 3] = [1, 5, 10];

/// Limits on FPIR at which FNIR is reported.
pub const REPORTED_FPIR: [f64; 5] = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1];

/// One search of a gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The person searched for is enrolled.
    pub mated: bool,
    /// Number of the person searched for, where known.
    pub subject: Option<u32>,
    /// Number of her or his cohort, where known.
    pub cohort: Option<u32>,
    /// What came back; `None` when the probe failed to enrol.
    pub outcome: Option<Outcome>,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Highest score of any subject; negative infinity in an empty gallery.
    pub top: f64,
    /// The subject searched for, if she or he has a template.
    pub mate: Option<Mate>,
}

/// The subject searched for among the candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mate {
    /// Her or his score.
    pub score: f64,
    /// 1 + number of other subjects with at least this score.
    pub rank: u32,
}

/// Share of the mated searches that return the subject within so many ranks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankEstimate {
    /// The rank.
    pub rank: u32,
    /// The share.
    #[serde(flatten)]
    pub rate: Estimate,
}

/// FNIR at a limit on FPIR.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FnirEstimate {
    /// The limit.
    pub fpir: f64,
    /// Lowest threshold that keeps it.
    pub threshold: f64,
    /// Non-mated searches the limit allows to return somebody; below about 10 the point rests on too little.
    pub support: u64,
    /// Mated searches whose subject is below the threshold, at whatever rank.
    pub fnir: Estimate,
    /// Mated searches whose subject is below the threshold or not first.
    pub fnir_rank_1: Estimate,
}

/// Both rates at a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatesAt {
    /// The threshold.
    pub threshold: f64,
    /// Non-mated searches that return somebody; `None` without non-mated searches.
    pub fpir: Option<Estimate>,
    /// Mated searches whose subject is below the threshold; `None` without mated searches.
    pub fnir: Option<Estimate>,
}

/// A point of the FNIR against FPIR curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdentificationPoint {
    /// The threshold.
    pub threshold: f64,
    /// False positive identification rate.
    pub fpir: f64,
    /// False negative identification rate.
    pub fnir: f64,
}

/// How many searches there were, and how many came to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchCounts {
    /// Searches for people who are enrolled.
    pub mated: usize,
    /// Searches for people who are not.
    pub non_mated: usize,
    /// Mated searches whose probe failed to enrol.
    pub mated_failed: usize,
    /// Mated searches whose subject has no template, all of her or his pictures having failed.
    pub mates_missing: usize,
    /// Non-mated searches whose probe failed to enrol.
    pub non_mated_failed: usize,
}

/// What the searches came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IdentificationReport {
    /// How many.
    pub searches: SearchCounts,
    /// At ranks 1, 5 and 10; empty without mated searches.
    pub ranks: Vec<RankEstimate>,
    /// Cumulative match characteristic: share of mated searches within rank 1, 2, …; empty without mated searches.
    pub cmc: Vec<f64>,
    /// FNIR at limits on FPIR; empty without mated or without non-mated searches.
    pub fnir_at_fpir: Vec<FnirEstimate>,
    /// At thresholds that were asked for, in their order.
    pub at: Vec<RatesAt>,
    /// FNIR against FPIR, threshold falling; empty as `fnir_at_fpir`.
    pub curve: Vec<IdentificationPoint>,
    /// How failures are counted.
    pub rule: Cow<'static, str>,
    /// How the intervals were made.
    pub bootstrap: Bootstrap,
    /// What was drawn for them.
    pub unit: Unit,
}

/// Evaluates searches; `subjects` is the number of subjects in the gallery, `thresholds` are those that rates are
/// wanted for beside the limits on FPIR.
///
/// # Errors
/// [`EvaluationError::NoSearches`] without a search, [`EvaluationError::NotFinite`] for a score that is no number.
pub fn identification(
    searches: &[Search],
    subjects: usize,
    thresholds: &[f64],
    bootstrap: Bootstrap,
) -> Result<IdentificationReport, EvaluationError> {
    if searches.is_empty() {
        return Err(EvaluationError::NoSearches);
    }
    let scores = searches.iter().filter_map(|s| s.outcome).flat_map(|o| [Some(o.top), o.mate.map(|m| m.score)]);
    if scores.flatten().any(|s| s.is_nan() || s == f64::INFINITY) {
        return Err(EvaluationError::NotFinite);
    }
    let walk = Walk::new(searches, subjects, thresholds);
    let draw = draw(&bootstrap, searches);
    let (values, intervals) = (walk.measure(&vec![1; searches.len()]), draw.intervals(|w| walk.measure(w)));
    let mut measured = values.into_iter().zip(intervals);
    let mut next = |mated: bool| {
        let (value, interval) = measured.next()?;
        Some(bootstrap.rate(value?, interval, draw.units(mated)))
    };
    let ranks = RANKS.iter().filter_map(|&rank| Some(RankEstimate { rank, rate: next(true)? })).collect();
    let mut limits = Vec::new();
    for fpir in REPORTED_FPIR {
        if let (Some(fnir), Some(fnir_rank_1), Some((threshold, support))) = (next(true), next(true), walk.limit(fpir))
        {
            limits.push(FnirEstimate { fpir, threshold, support, fnir, fnir_rank_1 });
        }
    }
    let at = thresholds.iter().map(|&threshold| RatesAt { threshold, fpir: next(false), fnir: next(true) }).collect();
    Ok(IdentificationReport {
        searches: counts(searches),
        ranks,
        cmc: walk.cmc(),
        fnir_at_fpir: limits,
        at,
        curve: walk.curve(),
        rule: Cow::Borrowed(SEARCH_RULE),
        bootstrap,
        unit: draw.unit(),
    })
}

/// What resamples draw: the people searched for, each with all of her or his searches.
pub(crate) fn draw<'a>(bootstrap: &'a Bootstrap, searches: &[Search]) -> Draw<'a> {
    let alone = |i: usize| u32::MAX - u32::try_from(i).unwrap_or(u32::MAX);
    let owner = |(i, s): (usize, &Search)| (s.mated, Some([s.subject.unwrap_or_else(|| alone(i)); 2]));
    Draw::by_first(bootstrap, searches.iter().enumerate().map(owner))
}

fn counts(searches: &[Search]) -> SearchCounts {
    let count = |keep: fn(&Search) -> bool| searches.iter().filter(|s| keep(s)).count();
    SearchCounts {
        mated: count(|s| s.mated),
        non_mated: count(|s| !s.mated),
        mated_failed: count(|s| s.mated && s.outcome.is_none()),
        mates_missing: count(|s| s.mated && s.outcome.is_some_and(|o| o.mate.is_none())),
        non_mated_failed: count(|s| !s.mated && s.outcome.is_none()),
    }
}
