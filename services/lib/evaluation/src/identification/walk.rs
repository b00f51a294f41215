//! The searches sorted once, and walked for every resample of the bootstrap.

use super::{IdentificationPoint, Mate, RANKS, REPORTED_FPIR, Search};

/// Longest rank of the curve.
const LAST_RANK: u32 = 50;

/// Points of the FNIR against FPIR curve, at most.
const CURVE_POINTS: usize = 400;

/// Sorted once, walked for every resample.
pub struct Walk<'a> {
    searches: &'a [Search],
    /// Places of the non-mated searches that have an outcome, highest score first.
    strangers: Vec<(usize, f64)>,
    thresholds: &'a [f64],
    depth: u32,
}

impl<'a> Walk<'a> {
    pub fn new(searches: &'a [Search], subjects: usize, thresholds: &'a [f64]) -> Self {
        let stranger = |(i, s): (usize, &Search)| Some((i, s.outcome.filter(|_| !s.mated)?.top));
        let mut strangers: Vec<(usize, f64)> = searches.iter().enumerate().filter_map(stranger).collect();
        strangers.sort_by(|a, b| b.1.total_cmp(&a.1));
        let depth = u32::try_from(subjects).unwrap_or(LAST_RANK).clamp(1, LAST_RANK);
        Self { searches, strangers, thresholds, depth }
    }

    /// All measures in the order in which the report takes them.
    pub fn measure(&self, weights: &[u32]) -> Vec<Option<f64>> {
        let mut values = Vec::with_capacity(RANKS.len() + 2 * (REPORTED_FPIR.len() + self.thresholds.len()));
        values.extend(RANKS.map(|k| self.rank(weights, k)));
        for fpir in REPORTED_FPIR {
            let threshold = self.threshold_for(weights, fpir);
            let miss = |rank: u32| {
                let t = threshold?;
                Some(1.0 - self.mated_share(weights, |m| m.score >= t && m.rank <= rank)?)
            };
            values.extend([miss(u32::MAX), miss(1)]);
        }
        for &t in self.thresholds {
            values.push(self.fpir_at(weights, t));
            values.push(self.mated_share(weights, |m| m.score >= t).map(|found| 1.0 - found));
        }
        values
    }

    /// Share of the mated searches that return the mate within a rank.
    pub fn rank(&self, weights: &[u32], rank: u32) -> Option<f64> {
        self.mated_share(weights, |m| m.rank <= rank)
    }

    /// FNIR at a limit on FPIR.
    pub fn fnir_at_fpir(&self, weights: &[u32], fpir: f64) -> Option<f64> {
        let t = self.threshold_for(weights, fpir)?;
        Some(1.0 - self.mated_share(weights, |m| m.score >= t)?)
    }

    /// Share of the mated searches whose mate fulfils a condition; a search without one does not.
    fn mated_share(&self, weights: &[u32], fulfils: impl Fn(&Mate) -> bool) -> Option<f64> {
        let (mut found, mut all) = (0u64, 0u64);
        for (s, &w) in self.searches.iter().zip(weights).filter(|(s, _)| s.mated) {
            all += u64::from(w);
            let mate = s.outcome.and_then(|o| o.mate);
            found += if mate.is_some_and(|m| fulfils(&m)) { u64::from(w) } else { 0 };
        }
        (all > 0).then(|| found as f64 / all as f64)
    }

    fn fpir_at(&self, weights: &[u32], threshold: f64) -> Option<f64> {
        let (mut above, mut all) = (0u64, 0u64);
        for &(i, top) in &self.strangers {
            all += u64::from(weights[i]);
            above += if top >= threshold { u64::from(weights[i]) } else { 0 };
        }
        (all > 0).then(|| above as f64 / all as f64)
    }

    /// The lowest threshold at which at most this share of the non-mated searches returns somebody.
    fn threshold_for(&self, weights: &[u32], fpir: f64) -> Option<f64> {
        let all: u64 = self.strangers.iter().map(|&(i, _)| u64::from(weights[i])).sum();
        // Rates are quotients: without the slack, 1e-3 of 3000 could miss its third search by a rounding.
        let allowed = (fpir * all as f64 + 1e-9) as u64;
        let mut above = 0;
        for &(i, top) in &self.strangers {
            above += u64::from(weights[i]);
            if above > allowed {
                return Some(top.next_up());
            }
        }
        (all > 0).then_some(f64::NEG_INFINITY)
    }

    pub fn limit(&self, fpir: f64) -> Option<(f64, u64)> {
        let threshold = self.threshold_for(&vec![1; self.searches.len()], fpir)?;
        Some((threshold, (fpir * self.strangers.len() as f64 + 1e-9) as u64))
    }

    pub fn cmc(&self) -> Vec<f64> {
        let ones = vec![1; self.searches.len()];
        (1..=self.depth).map_while(|k| self.mated_share(&ones, |m| m.rank <= k)).collect()
    }

    /// One point for every score of a non-mated search, thinned out.
    pub fn curve(&self) -> Vec<IdentificationPoint> {
        let ones = vec![1; self.searches.len()];
        let n = self.strangers.len();
        let mut mates: Vec<f64> = self.searches.iter().filter_map(|s| Some(s.outcome?.mate?.score)).collect();
        mates.sort_by(f64::total_cmp);
        let mated = self.searches.iter().filter(|s| s.mated).count();
        if n == 0 || mated == 0 {
            return Vec::new();
        }
        // Every search near the top, where a few decide the rate, and fewer and fewer after it.
        let step = |i: usize| (i * 8 / CURVE_POINTS).max(1);
        let mut points = Vec::new();
        let mut i = 0;
        while i < n {
            let threshold = self.strangers[i].1.next_up();
            let found = mates.len() - mates.partition_point(|&s| s < threshold);
            let fpir = self.fpir_at(&ones, threshold).unwrap_or(0.0);
            points.push(IdentificationPoint { threshold, fpir, fnir: 1.0 - found as f64 / mated as f64 });
            i += step(i);
        }
        points
    }
}
