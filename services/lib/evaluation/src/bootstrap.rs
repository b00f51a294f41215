//! Percentile bootstrap over comparisons, mated and non-mated drawn apart (Efron and Tibshirani 1993). Comparisons
//! that share a picture are not independent, so the intervals are somewhat too narrow; they are still the right scale.

use serde::Serialize;

use crate::Scores;

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bootstrap {
    /// Number of resamples.
    pub resamples: usize,
    /// Share of the resamples inside the interval, such as 0.95.
    pub confidence: f64,
    /// Start of the random sequence: equal seeds give equal intervals.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, confidence: 0.95, seed: 1 }
    }
}

/// Both ends of a confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Bootstrap {
    /// Intervals of `N` measures. `measure` gets, for each item of the sorted scores, how often it was drawn.
    pub(crate) fn intervals<const N: usize>(
        &self,
        scores: &Scores,
        measure: impl Fn(&[u32]) -> [f64; N],
    ) -> [Interval; N] {
        let place = |mated: bool| -> Vec<usize> {
            let all = scores.items.iter().enumerate();
            all.filter(|(_, item)| item.1 == mated).map(|(i, _)| i).collect()
        };
        let strata = [place(true), place(false)];
        let mut random = SplitMix(self.seed);
        let mut draws: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(self.resamples));
        let mut weights = vec![0u32; scores.items.len()];
        for _ in 0..self.resamples.max(1) {
            weights.fill(0);
            for stratum in &strata {
                for _ in 0..stratum.len() {
                    weights[stratum[random.below(stratum.len())]] += 1;
                }
            }
            for (column, value) in draws.iter_mut().zip(measure(&weights)) {
                column.push(value);
            }
        }
        draws.map(|column| percentile_interval(column, self.confidence))
    }
}

fn percentile_interval(mut values: Vec<f64>, confidence: f64) -> Interval {
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let last = (values.len() - 1) as f64;
    let at = |share: f64| values[(share * last).round() as usize];
    Interval { low: at(tail), high: at(1.0 - tail) }
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast and good enough to draw indices.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..n up to a bias of n / 2^64.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}
