//! Weights to signed 8-bit numbers with a scale per output channel, and biases to 32 bits in the scale of the sums
//! they are added to. Called by `emit`.

/// Largest number that is used: symmetric, so that zero is 0 and no product of two overflows its sum early.
const LARGEST: f64 = 127.0;

/// Largest bias in its own steps; half of what 32 bits hold, so that the sum has room.
const LARGEST_BIAS: f64 = (1u32 << 30) as f64;

/// Weights and bias of one product, as integers.
pub(crate) struct Quantised {
    /// Rows of weights.
    pub weights: Vec<i8>,
    /// Scale of each row.
    pub scales: Vec<f32>,
    /// In steps of input scale · row scale.
    pub bias: Vec<i32>,
    /// Those steps.
    pub bias_scales: Vec<f32>,
}

/// Quantises `rows` of weights and their biases, for an input in steps of `input_scale`.
pub(crate) fn quantise(weights: &[f32], bias: &[f32], input_scale: f32) -> Quantised {
    let rows = bias.len().max(1);
    let per = (weights.len() / rows).max(1);
    let mut q = Quantised {
        weights: Vec::with_capacity(weights.len()),
        scales: Vec::with_capacity(rows),
        bias: Vec::with_capacity(rows),
        bias_scales: Vec::with_capacity(rows),
    };
    for (row, b) in weights.chunks(per).zip(bias) {
        let largest = row.iter().fold(0.0f64, |m, w| m.max(f64::from(w.abs())));
        // A row of zeros, or a bias far larger than the weights: the bias has to fit as well.
        let least =
            (f64::from(b.abs()) / f64::from(input_scale) / LARGEST_BIAS).max(f64::from(f32::MIN_POSITIVE) * 1e6);
        let scale = narrow((largest / LARGEST).max(least));
        let step = narrow(f64::from(scale) * f64::from(input_scale));
        q.weights.extend(row.iter().map(|w| to_i8(f64::from(*w) / f64::from(scale))));
        q.scales.push(scale);
        q.bias.push(to_i32(f64::from(*b) / f64::from(step)));
        q.bias_scales.push(step);
    }
    q
}

#[expect(clippy::cast_possible_truncation, reason = "stored as f32")]
fn narrow(v: f64) -> f32 {
    v as f32
}

#[expect(clippy::cast_possible_truncation, reason = "clamped before")]
fn to_i8(v: f64) -> i8 {
    v.round_ties_even().clamp(-LARGEST, LARGEST) as i8
}

#[expect(clippy::cast_possible_truncation, reason = "a cast to an integer saturates")]
fn to_i32(v: f64) -> i32 {
    v.round_ties_even() as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the weights, each comes back to within half a step, and the bias to within half of its own.
        #[test]
        fn weights_come_back(weights in proptest::collection::vec(-10.0f32..10.0, 12), bias in proptest::collection::vec(-50.0f32..50.0, 3)) {
            let q = quantise(&weights, &bias, 0.02);
            for (i, w) in weights.iter().enumerate() {
                let scale = q.scales[i / 4];
                prop_assert!((f32::from(q.weights[i]) * scale - w).abs() <= 0.501 * scale);
            }
            for (i, b) in bias.iter().enumerate() {
                prop_assert!((q.bias[i] as f32 * q.bias_scales[i] - b).abs() <= q.bias_scales[i] + 1e-5 * b.abs());
            }
        }
    }

    #[test]
    fn a_row_of_zeros_keeps_its_bias() {
        let q = quantise(&[0.0, 0.0], &[3.0, -2.0], 0.01);
        assert_eq!(q.weights, [0, 0]);
        assert!((f64::from(q.bias[0]) * f64::from(q.bias_scales[0]) - 3.0).abs() < 1e-5);
        assert!(q.scales.iter().all(|s| *s > 0.0 && s.is_finite()));
    }
}
