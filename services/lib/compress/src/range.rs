//! From a histogram to the range that 256 steps are laid over: the one with the least expected squared error of what
//! comes out behind the activation. Wider rounds more coarsely, narrower cuts off more. Called by the quantiser.

use crate::{
    histogram::{BINS, Histogram},
    plan::Activation,
};

/// Ends that are tried on either side, from a quarter of the extreme to the whole.
const TRIED: u32 = 31;

/// Steps of an unsigned 8-bit number.
const STEPS: f64 = 255.0;

/// What an unsigned 8-bit value stands for: `(q - zero) · scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Size of a step, above zero.
    pub scale: f32,
    /// The number that stands for 0.
    pub zero: u8,
}

impl Range {
    /// The range from `low` (at most 0) to `high` (at least 0). Zero has a number of its own, so that padding and
    /// cut-off activations are exact.
    #[must_use]
    pub fn spanning(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / STEPS).max(f64::from(f32::MIN_POSITIVE));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
        let zero = (-low / scale).round().clamp(0.0, STEPS) as u8;
        #[expect(clippy::cast_possible_truncation, reason = "a scale is stored as f32")]
        let scale = scale as f32;
        Self { scale, zero }
    }

    /// The range with the least error for what was seen. A value that was always 0 gets steps of 1/255.
    pub(crate) fn of(seen: &Histogram, activation: &Activation) -> Self {
        let low = if *activation == Activation::Relu { 0.0 } else { f64::from(seen.low) };
        let high = f64::from(seen.high);
        if high - low <= 0.0 {
            return Self::spanning(0.0, 1.0);
        }
        let tails = Tails::of(seen);
        let ends = |extreme: f64| (0..TRIED).map(move |i| extreme * (1.0 - 0.75 * f64::from(i) / f64::from(TRIED - 1)));
        let mut best = (f64::INFINITY, low, high);
        for l in ends(low) {
            for h in ends(high) {
                let step = (h - l) / STEPS;
                let error = tails.error(seen, l, h) + step * step / 12.0 * seen.twice;
                if error < best.0 {
                    best = (error, l, h);
                }
            }
        }
        Self::spanning(best.1, best.2)
    }
}

/// Sums from the left over a histogram, so that the error of a range is looked up, not summed again.
struct Tails {
    /// Weight, weight · value, weight · value² of all bins before each bin.
    sums: Vec<[f64; 3]>,
}

impl Tails {
    fn of(seen: &Histogram) -> Self {
        let mut sums = Vec::with_capacity(BINS + 1);
        let mut sum = [0.0; 3];
        sums.push(sum);
        for (i, w) in seen.bins.iter().enumerate() {
            let v = seen.centre(i);
            sum = [sum[0] + w, sum[1] + w * v, sum[2] + w * v * v];
            sums.push(sum);
        }
        Self { sums }
    }

    /// Squared error when everything is rounded to steps between `low` and `high` and cut off beyond them.
    fn error(&self, seen: &Histogram, low: f64, high: f64) -> f64 {
        let width = f64::from(seen.high) - f64::from(seen.low);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bins")]
        let bin = |v: f64| (((v - f64::from(seen.low)) / width * BINS as f64).round().clamp(0.0, BINS as f64)) as usize;
        let (first, last) = (self.sums[bin(low).min(bin(high))], self.sums[bin(high)]);
        let all = self.sums[self.sums.len() - 1];
        // Σ w (v - end)², from the sums.
        let beyond = |s: [f64; 3], end: f64| s[2] - 2.0 * end * s[1] + end * end * s[0];
        let above = [all[0] - last[0], all[1] - last[1], all[2] - last[2]];
        let step = (high - low) / STEPS;
        beyond(first, low).max(0.0) + beyond(above, high).max(0.0) + step * step / 12.0 * (last[0] - first[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(data: &[f32], activation: &Activation) -> Histogram {
        let mut h = Histogram::new();
        h.widen("x", data).unwrap();
        h.open();
        h.count(activation, &[1, 1, data.len()], data);
        h
    }

    #[test]
    fn zero_is_exact_and_the_ends_are_reached() {
        for (low, high) in [(-1.0, 1.0), (0.0, 6.0), (-3.0, 0.0), (-0.01, 5.0), (0.0, 0.0)] {
            let r = Range::spanning(low, high);
            let [first, last] = [0u8, 255].map(|q| (f64::from(q) - f64::from(r.zero)) * f64::from(r.scale));
            assert!(r.scale > 0.0);
            assert!(first <= low + f64::from(r.scale) && last >= high - f64::from(r.scale), "{low} {high} {r:?}");
        }
    }

    #[test]
    fn one_far_outlier_does_not_take_the_steps_of_the_many() {
        let mut data: Vec<f32> = (0..100_000).map(|i| (i % 100) as f32 / 100.0).collect();
        data.push(4.0);
        let mut h = seen(&data, &Activation::None);
        data.pop();
        for _ in 0..30 {
            h.count(&Activation::None, &[1, 1, data.len()], &data);
        }
        let r = Range::of(&h, &Activation::None);
        assert!(r.scale < 2.0 / 255.0, "{r:?}");
        let flat: Vec<f32> = (0..1000).map(|i| i as f32 / 250.0).collect();
        let r = Range::of(&seen(&flat, &Activation::None), &Activation::None);
        assert!((r.scale - 4.0 / 255.0).abs() < 1e-3, "a value that uses its whole range keeps it: {r:?}");
    }

    #[test]
    fn what_the_activation_drops_gets_no_steps() {
        let data: Vec<f32> = (-1000..1000).map(|i| i as f32 / 1000.0).collect();
        assert_eq!(Range::of(&seen(&data, &Activation::Relu), &Activation::Relu).zero, 0);
        let steep = Activation::Slopes(vec![1.0]);
        let flat = Activation::Slopes(vec![0.01]);
        let (steep, flat) = (Range::of(&seen(&data, &steep), &steep), Range::of(&seen(&data, &flat), &flat));
        assert!(flat.zero < steep.zero, "{flat:?} {steep:?}");
    }
}
