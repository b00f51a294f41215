//! Score histograms of mated and non-mated comparisons on common bins.

use serde::{Deserialize, Serialize};

/// Bins aimed at.
const BINS: f64 = 60.0;

/// Widths of bins to choose from, each the least that is wide enough.
const WIDTHS: [f64; 6] = [0.005, 0.01, 0.02, 0.025, 0.05, 0.1];

/// Counts by score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub from: f64,
    /// Width of every bin; a bin holds its lower end and not its upper.
    pub width: f64,
    /// Mated comparisons in each bin.
    pub mated: Vec<u64>,
    /// Non-mated comparisons in each bin.
    pub non_mated: Vec<u64>,
}

impl Histogram {
    /// Counts finite scores; bins cover all of them. Without scores there are no bins.
    pub fn new<M, N>(mated: M, non_mated: N) -> Self
    where
        M: Iterator<Item = f64> + Clone,
        N: Iterator<Item = f64> + Clone,
    {
        let all = mated.clone().chain(non_mated.clone()).filter(|s| s.is_finite());
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(s), h.max(s)));
        if low > high {
            return Self { from: 0.0, width: WIDTHS[0], mated: Vec::new(), non_mated: Vec::new() };
        }
        let needed = (high - low) / BINS;
        let width = WIDTHS.into_iter().find(|w| *w >= needed).unwrap_or(needed);
        let from = (low / width).floor() * width;
        let bins = ((high - from) / width).floor() as usize + 1;
        let count = |scores: &mut dyn Iterator<Item = f64>| {
            let mut counts = vec![0u64; bins];
            scores.filter(|s| s.is_finite()).for_each(|s| counts[(((s - from) / width) as usize).min(bins - 1)] += 1);
            counts
        };
        Self { from, width, mated: count(&mut mated.into_iter()), non_mated: count(&mut non_mated.into_iter()) }
    }
}
