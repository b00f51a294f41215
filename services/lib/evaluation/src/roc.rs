//! The ROC curve and what is read off it: AUC, EER, TAR at an FMR. Weighted, so that the bootstrap can walk the same
//! sorted scores with other multiplicities. Ties are one step of the curve.

use serde::{Deserialize, Serialize};

use crate::{Scores, infinite, scores::Item};

/// One point of the curve: the rates when the threshold is this score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Threshold; infinite (JSON: null) at the first point, where nothing matches.
    #[serde(with = "infinite")]
    pub threshold: f64,
    /// False match rate: share of non-mated comparisons at or above the threshold.
    pub fmr: f64,
    /// True accept rate, 1 − FNMR: share of mated comparisons at or above the threshold.
    pub tar: f64,
}

/// The curve from (0, 0) to (1, 1), one point per distinct score, threshold falling.
#[derive(Clone, Debug, PartialEq)]
pub struct Roc {
    points: Vec<RocPoint>,
    non_mated: u64,
}

/// Where FMR and FNMR are equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eer {
    /// The rate, interpolated linearly between the two points around the crossing.
    pub rate: f64,
    /// The threshold at the crossing, interpolated alike.
    pub threshold: f64,
}

/// The best true accept rate within a limit on the false match rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OperatingPoint {
    /// The limit.
    pub fmr: f64,
    /// True accept rate.
    pub tar: f64,
    /// Lowest observed score that keeps the limit; infinite where not even the highest does.
    pub threshold: f64,
    /// Non-mated comparisons the limit allows; below about 10 the point rests on too little.
    pub support: u64,
}

impl Roc {
    /// The curve of all scores.
    #[must_use]
    pub fn new(scores: &Scores) -> Self {
        Self::weighted(scores, |_| 1)
    }

    /// The curve with the i-th item of the sorted scores counted `weight(i)` times.
    pub(crate) fn weighted(scores: &Scores, weight: impl Fn(usize) -> u32) -> Self {
        let (mut matched, mut totals) = ([0u64; 2], [0u64; 2]);
        let mut steps: Vec<(f64, [u64; 2])> = Vec::with_capacity(scores.items.len() + 1);
        steps.push((f64::INFINITY, [0, 0]));
        for (i, &Item { score, mated, .. }) in scores.items.iter().enumerate() {
            let w = u64::from(weight(i));
            if w == 0 {
                continue;
            }
            matched[usize::from(mated)] += w;
            totals[usize::from(mated)] += w;
            match steps.last_mut() {
                Some(last) if last.0 == score => last.1 = matched,
                _ => steps.push((score, matched)),
            }
        }
        let rate = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        let point = |&(threshold, [non, mated]): &(f64, [u64; 2])| RocPoint {
            threshold,
            fmr: rate(non, totals[0]),
            tar: rate(mated, totals[1]),
        };
        Self { points: steps.iter().map(point).collect(), non_mated: totals[0] }
    }

    /// The points, threshold falling.
    #[must_use]
    pub fn points(&self) -> &[RocPoint] {
        &self.points
    }

    /// The curve for drawing: the points where it turns, all of them or, if these are more than `most`, about as many,
    /// closest together where the rates are small. The first and the last are always there.
    #[must_use]
    pub fn corners(&self, most: usize) -> Vec<RocPoint> {
        let last = self.points.len() - 1;
        let turns = |i: usize| {
            let [a, b, c] = [i - 1, i, i + 1].map(|i| self.points[i]);
            !((a.fmr == b.fmr && b.fmr == c.fmr) || (a.tar == b.tar && b.tar == c.tar))
        };
        let corners: Vec<RocPoint> =
            (0..=last).filter(|&i| i == 0 || i == last || turns(i)).map(|i| self.points[i]).collect();
        if corners.len() <= most {
            return corners;
        }
        let step = |p: &RocPoint| [p.fmr, 1.0 - p.tar].map(probit_clamped);
        // Each kept point is some way from the one before: a grid along the curve as a DET plot shows it.
        let length: f64 = corners.windows(2).map(|w| distance(step(&w[0]), step(&w[1]))).sum();
        let least = length / most.max(2) as f64;
        let mut kept: Vec<RocPoint> = Vec::new();
        for (i, p) in corners.iter().enumerate() {
            let far = kept.last().is_none_or(|k| distance(step(k), step(p)) >= least);
            if far || i == 1 || i + 1 == corners.len() {
                kept.push(*p);
            }
        }
        kept
    }

    /// Area under the curve by the trapezoidal rule, which on this curve is exact: the probability that a mated score
    /// is above a non-mated one, ties counted half (Mann–Whitney).
    #[must_use]
    pub fn auc(&self) -> f64 {
        self.points.windows(2).map(|w| (w[1].fmr - w[0].fmr) * f64::midpoint(w[0].tar, w[1].tar)).sum()
    }

    /// The equal error rate.
    #[must_use]
    pub fn eer(&self) -> Eer {
        let gap = |p: &RocPoint| p.fmr - (1.0 - p.tar);
        // The gap climbs from -1 at the first point to 1 at the last.
        let i = self.points.partition_point(|p| gap(p) < 0.0).clamp(1, self.points.len() - 1);
        let (a, b) = (&self.points[i - 1], &self.points[i]);
        let t = (-gap(a) / (gap(b) - gap(a))).clamp(0.0, 1.0);
        let threshold =
            if a.threshold.is_finite() { a.threshold + (b.threshold - a.threshold) * t } else { b.threshold };
        Eer { rate: a.fmr + (b.fmr - a.fmr) * t, threshold }
    }

    /// The highest TAR with a false match rate of at most `fmr`.
    #[must_use]
    pub fn tar_at_fmr(&self, fmr: f64) -> OperatingPoint {
        // Rates are quotients: without the slack, 1e-3 of 3000 could miss its third comparison by a rounding.
        let within = self.points.partition_point(|p| p.fmr <= fmr + 1e-12).max(1);
        let p = self.points[within - 1];
        let support = (fmr * self.non_mated as f64 + 1e-9) as u64;
        OperatingPoint { fmr, tar: p.tar, threshold: p.threshold, support }
    }

    /// The rates at a threshold.
    #[must_use]
    pub fn at(&self, threshold: f64) -> RocPoint {
        let at_or_above = self.points.partition_point(|p| p.threshold >= threshold).max(1);
        RocPoint { threshold, ..self.points[at_or_above - 1] }
    }
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).abs() + (a[1] - b[1]).abs()
}

/// The normal deviate of a rate, for the axes of a DET plot (Martin et al. 1997): rational approximation 26.2.23 of
/// Abramowitz and Stegun, absolute error below 4.5e-4. Rates 0 and 1 give infinities.
#[must_use]
pub fn probit(rate: f64) -> f64 {
    if rate > 0.5 {
        return -probit(1.0 - rate);
    }
    if rate <= 0.0 {
        return f64::NEG_INFINITY;
    }
    let t = (-2.0 * rate.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    above / below - t
}

/// Within what a plot can show.
fn probit_clamped(rate: f64) -> f64 {
    probit(rate).clamp(-6.0, 6.0)
}
