//! What was seen of one value: its extremes in a first pass, a histogram between them in a second. Called by the
//! quantiser for each site and sample.

use crate::{CompressError, plan::Activation};

/// Bins between the extremes: an 8-bit step is eight of them.
pub(crate) const BINS: usize = 2048;

/// Counts of a value's elements by size, each counted with what its error does to the result.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    /// Extremes, zero included.
    pub low: f32,
    pub high: f32,
    /// Weighted counts.
    pub bins: Vec<f64>,
    /// Elements that are rounded a second time, by the slope.
    pub twice: f64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { low: 0.0, high: 0.0, bins: Vec::new(), twice: 0.0 }
    }

    /// First pass.
    pub fn widen(&mut self, value: &str, data: &[f32]) -> Result<(), CompressError> {
        for v in data {
            self.low = self.low.min(*v);
            self.high = self.high.max(*v);
        }
        // NaN never wins a comparison: looked for on its own.
        let finite = self.low.is_finite() && self.high.is_finite() && !data.iter().any(|v| v.is_nan());
        let why = "is not finite for a sample";
        if finite { Ok(()) } else { Err(CompressError::Observation { value: value.into(), why }) }
    }

    /// Between the passes. The extremes are rounded outwards to 8 bits, so that another processor's last digit does
    /// not give another file.
    pub fn open(&mut self) {
        self.low = -round_up(-self.low);
        self.high = round_up(self.high);
        self.bins = vec![0.0; BINS];
    }

    /// Second pass; `shape` is [n, channels, ...].
    pub fn count(&mut self, activation: &Activation, shape: &[usize], data: &[f32]) {
        let width = f64::from(self.high) - f64::from(self.low);
        if width <= 0.0 || self.bins.is_empty() {
            return;
        }
        let per_bin = BINS as f64 / width;
        let channels = shape.get(1).copied().unwrap_or(1).max(1);
        let plane = shape.get(2..).map_or(1, |s| s.iter().product::<usize>()).max(1);
        for (i, plane) in data.chunks(plane).enumerate() {
            let negative = match activation {
                Activation::None => 1.0,
                Activation::Relu => 0.0,
                Activation::Slopes(slopes) => slopes.get(i % channels).map_or(1.0, |a| f64::from(a * a)),
            };
            for v in plane {
                let at = (f64::from(*v) - f64::from(self.low)) * per_bin;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as it should")]
                let bin = (at as usize).min(BINS - 1);
                self.bins[bin] += if *v < 0.0 { negative } else { 1.0 };
            }
            if matches!(activation, Activation::Slopes(_)) {
                self.twice += plane.iter().filter(|v| **v < 0.0).count() as f64;
            }
        }
    }

    /// The value in the middle of a bin.
    pub fn centre(&self, bin: usize) -> f64 {
        let width = f64::from(self.high) - f64::from(self.low);
        f64::from(self.low) + (bin as f64 + 0.5) * width / BINS as f64
    }
}

/// The next number not below `v` that has 8 significant bits; `v` is not negative.
fn round_up(v: f32) -> f32 {
    const LOW_BITS: u32 = (1 << 16) - 1;
    let bits = v.to_bits();
    if v <= 0.0 || bits & LOW_BITS == 0 { v.max(0.0) } else { f32::from_bits((bits | LOW_BITS) + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_rounded_outwards_to_eight_bits() {
        for v in [0.0f32, 1e-30, 0.1, 1.0, 3.999, 255.0, 1e6] {
            let up = round_up(v);
            assert!(up >= v && up <= v * 1.01, "{v} {up}");
            assert_eq!(round_up(up), up);
        }
    }

    #[test]
    fn negatives_count_by_their_slope() {
        let mut h = Histogram::new();
        let data = [-1.0, 1.0, -1.0, 1.0];
        h.widen("x", &data).unwrap();
        h.open();
        h.count(&Activation::Slopes(vec![0.5, 0.0]), &[1, 2, 2], &data);
        assert_eq!((h.bins[0], h.bins[BINS - 1], h.twice), (0.25, 2.0, 2.0));
        assert!(h.widen("x", &[f32::NAN]).is_err() && h.widen("x", &[f32::INFINITY]).is_err());
    }
}
