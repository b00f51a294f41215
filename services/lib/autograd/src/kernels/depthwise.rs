//! Convolutions with one filter for each channel: a picture at a time, channels side by side. Weights lie tap by tap,
//! each with all channels. Callers: `ops/depthwise.rs`, `ops/grouped.rs`.

use super::{fma, kernel};

/// Channels that are worked on side by side.
const LANES: usize = 16;
/// Outputs beside each other that share the weights in registers.
const ALONG: usize = 4;

/// Sizes of a depthwise convolution; height before width in every pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Channels.
    pub channels: usize,
    /// Size of the input.
    pub input: [usize; 2],
    /// Size of the output.
    pub output: [usize; 2],
    /// Size of the filter.
    pub kernel: [usize; 2],
    /// Step of the filter.
    pub stride: [usize; 2],
    /// Zeros above and to the left of the input.
    pub pad: [usize; 2],
}

impl Window {
    /// The convolution that takes gradients back, where the step is 1: with the filter turned about.
    pub fn turned(self) -> Self {
        let pad = [self.kernel[0] - 1 - self.pad[0], self.kernel[1] - 1 - self.pad[1]];
        Self { input: self.output, output: self.input, pad, ..self }
    }

    /// Taps of an axis that lie within the input for the output at `at`.
    #[inline(always)]
    fn taps(&self, axis: usize, at: usize) -> std::ops::Range<usize> {
        let first = at * self.stride[axis];
        let from = self.pad[axis].saturating_sub(first);
        let to = (self.input[axis] + self.pad[axis]).saturating_sub(first).min(self.kernel[axis]);
        from..to.max(from)
    }

    /// Outputs along the width for which all taps lie within.
    fn inside(&self) -> std::ops::Range<usize> {
        let all = |j: &usize| self.taps(1, *j) == (0..self.kernel[1]);
        let first = (0..self.output[1]).find(all).unwrap_or(self.output[1]);
        let past = (first..self.output[1]).rev().find(all).map_or(first, |j| j + 1);
        first..past
    }
}

#[inline(always)]
fn lanes<const L: usize>(x: &[f32], at: usize) -> [f32; L] {
    let mut out = [0.0; L];
    out.copy_from_slice(&x[at..at + L]);
    out
}

kernel! {
    /// One picture (`from.0`, with the weights) forward; `add` adds to what is in `y`.
    pub fn depthwise(window: &Window, from: (&[f32], &[f32]), y: &mut [f32], add: bool) {
        let (x, weights) = from;
        let c = window.channels;
        let whole = c / LANES * LANES;
        let inside = window.inside();
        for (i, y) in y.chunks_exact_mut(window.output[1] * c).enumerate() {
            let mut j = 0;
            while j < window.output[1] {
                let many = inside.contains(&j) && j + ALONG <= inside.end;
                for at in (0..whole).step_by(LANES) {
                    if many {
                        outputs::<LANES, ALONG, FMA>(window, (x, weights), (i, j, at), y, add);
                    } else {
                        outputs::<LANES, 1, FMA>(window, (x, weights), (i, j, at), y, add);
                    }
                }
                let step = if many { ALONG } else { 1 };
                for at in whole..c {
                    for j in j..j + step {
                        outputs::<1, 1, FMA>(window, (x, weights), (i, j, at), y, add);
                    }
                }
                j += step;
            }
        }
    }
}

/// `N` outputs of one row beside each other, of which the first has all taps that the others have.
#[inline(always)]
fn outputs<const L: usize, const N: usize, const FMA: bool>(
    window: &Window,
    (x, weights): (&[f32], &[f32]),
    (i, j, at): (usize, usize, usize),
    y: &mut [f32],
    add: bool,
) {
    let c = window.channels;
    let mut sums = [[0.0f32; L]; N];
    for a in window.taps(0, i) {
        let row = (i * window.stride[0] + a - window.pad[0]) * window.input[1];
        for e in window.taps(1, j) {
            let w = lanes::<L>(weights, (a * window.kernel[1] + e) * c + at);
            let first = (row + j * window.stride[1] + e - window.pad[1]) * c + at;
            for (n, sums) in sums.iter_mut().enumerate() {
                let x = lanes::<L>(x, first + n * window.stride[1] * c);
                for l in 0..L {
                    sums[l] = fma::<FMA>(x[l], w[l], sums[l]);
                }
            }
        }
    }
    for (n, sums) in sums.iter().enumerate() {
        let to = &mut y[(j + n) * c + at..][..L];
        for l in 0..L {
            to[l] = if add { to[l] + sums[l] } else { sums[l] };
        }
    }
}

kernel! {
    /// Gradient of one picture's input from that of its output (`from.0`), for any step.
    pub fn depthwise_inputs(window: &Window, from: (&[f32], &[f32]), to: &mut [f32], add: bool) {
        let (gradient, weights) = from;
        let c = window.channels;
        let whole = c / LANES * LANES;
        for i in 0..window.input[0] {
            for j in 0..window.input[1] {
                let to = &mut to[(i * window.input[1] + j) * c..][..c];
                for at in (0..whole).step_by(LANES) {
                    input::<LANES, FMA>(window, (gradient, weights), (i, j, at), to, add);
                }
                for at in whole..c {
                    input::<1, FMA>(window, (gradient, weights), (i, j, at), to, add);
                }
            }
        }
    }
}

/// The output that reads the input at `at` through this tap.
#[inline(always)]
fn reader(window: &Window, axis: usize, at: usize, tap: usize) -> Option<usize> {
    let place = (at + window.pad[axis]).checked_sub(tap)?;
    let output = place / window.stride[axis];
    (place % window.stride[axis] == 0 && output < window.output[axis]).then_some(output)
}

#[inline(always)]
fn input<const L: usize, const FMA: bool>(
    window: &Window,
    (gradient, weights): (&[f32], &[f32]),
    (i, j, at): (usize, usize, usize),
    to: &mut [f32],
    add: bool,
) {
    let c = window.channels;
    let mut sums = [0.0f32; L];
    for a in 0..window.kernel[0] {
        let Some(row) = reader(window, 0, i, a) else { continue };
        for e in 0..window.kernel[1] {
            let Some(column) = reader(window, 1, j, e) else { continue };
            let g = lanes::<L>(gradient, (row * window.output[1] + column) * c + at);
            let w = lanes::<L>(weights, (a * window.kernel[1] + e) * c + at);
            for l in 0..L {
                sums[l] = fma::<FMA>(g[l], w[l], sums[l]);
            }
        }
    }
    let to = &mut to[at..][..L];
    for l in 0..L {
        to[l] = if add { to[l] + sums[l] } else { sums[l] };
    }
}

kernel! {
    /// Adds to `sums`, which lie as the weights do, what one picture says about their gradient.
    pub fn depthwise_weights(window: &Window, x: &[f32], gradient: &[f32], sums: &mut [f32]) {
        let c = window.channels;
        let whole = c / LANES * LANES;
        for (i, gradient) in gradient.chunks_exact(window.output[1] * c).enumerate() {
            for a in window.taps(0, i) {
                let row = i * window.stride[0] + a - window.pad[0];
                let x = &x[row * window.input[1] * c..][..window.input[1] * c];
                let sums = &mut sums[a * window.kernel[1] * c..][..window.kernel[1] * c];
                for at in (0..whole).step_by(LANES) {
                    weights_of_row::<LANES, FMA>(window, (x, gradient), at, sums);
                }
                for at in whole..c {
                    weights_of_row::<1, FMA>(window, (x, gradient), at, sums);
                }
            }
        }
    }
}

/// One row of taps over one row of outputs.
#[inline(always)]
fn weights_of_row<const L: usize, const FMA: bool>(
    window: &Window,
    (x, gradient): (&[f32], &[f32]),
    at: usize,
    sums: &mut [f32],
) {
    let c = window.channels;
    if window.kernel[1] == 3 {
        let mut three = [[0.0f32; L]; 3];
        for j in 0..window.output[1] {
            let g = lanes::<L>(gradient, j * c + at);
            let taps = window.taps(1, j);
            for (e, sums) in three.iter_mut().enumerate() {
                if taps.contains(&e) {
                    let x = lanes::<L>(x, (j * window.stride[1] + e - window.pad[1]) * c + at);
                    for l in 0..L {
                        sums[l] = fma::<FMA>(x[l], g[l], sums[l]);
                    }
                }
            }
        }
        for (e, three) in three.iter().enumerate() {
            for (to, sum) in sums[e * c + at..][..L].iter_mut().zip(three) {
                *to += sum;
            }
        }
        return;
    }
    for j in 0..window.output[1] {
        let g = lanes::<L>(gradient, j * c + at);
        for e in window.taps(1, j) {
            let x = lanes::<L>(x, (j * window.stride[1] + e - window.pad[1]) * c + at);
            let to = &mut sums[e * c + at..][..L];
            for l in 0..L {
                to[l] = fma::<FMA>(x[l], g[l], to[l]);
            }
        }
    }
}
