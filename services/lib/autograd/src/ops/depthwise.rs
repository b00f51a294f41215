//! Convolutions with one filter for each channel. Pictures are shared out over threads.

use super::{Back, Context, Op, conv::bias_back, total};
use crate::kernels::{self, Window};

/// A convolution with as many groups as channels, in and out.
#[derive(Clone, Debug)]
pub struct Depthwise {
    /// Sizes.
    pub window: Window,
}

/// Weights tap by tap instead of channel by channel; `turned` begins with the last tap.
pub(super) fn by_tap(weights: &[f32], channels: usize, turned: bool) -> Vec<f32> {
    let taps = weights.len() / channels;
    let mut out = vec![0.0; weights.len()];
    for (c, weights) in weights.chunks_exact(taps).enumerate() {
        for (t, weight) in weights.iter().enumerate() {
            let t = if turned { taps - 1 - t } else { t };
            out[t * channels + c] = *weight;
        }
    }
    out
}

/// Values of an input and of an output picture.
pub(super) fn sizes(w: &Window) -> (usize, usize) {
    (w.input[0] * w.input[1] * w.channels, w.output[0] * w.output[1] * w.channels)
}

/// Whether the gradient of inputs is itself a plain convolution with the turned filter.
pub(super) fn turns(w: &Window) -> bool {
    w.stride == [1, 1] && w.pad[0] < w.kernel[0] && w.pad[1] < w.kernel[1]
}

impl Op for Depthwise {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (w, level, (size, out)) = (&self.window, cx.level, sizes(&self.window));
        let weights = by_tap(inputs[1], w.channels, false);
        cx.threads.split(output, out, |first, part| {
            for (i, y) in part.chunks_exact_mut(out).enumerate() {
                let x = &inputs[0][(first + i) * size..][..size];
                let biased = inputs.get(2).is_some();
                if let Some(bias) = inputs.get(2) {
                    y.chunks_exact_mut(w.channels).for_each(|y| y.copy_from_slice(bias));
                }
                kernels::depthwise(level, w, (x, &weights), y, biased);
            }
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (w, level, (size, out)) = (&self.window, cx.level, sizes(&self.window));
        let (x, weights, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        bias_back(cx, &mut back, 2, w.channels);
        if back.target(1).is_some() {
            let taps = w.kernel[0] * w.kernel[1];
            let sums = total(cx.threads.ranges(gradient.len() / out, true, |images| {
                let (mut sums, mut total) = (vec![0.0; weights.len()], vec![0.0; weights.len()]);
                for image in images {
                    let (x, gradient) = (&x[image * size..][..size], &gradient[image * out..][..out]);
                    sums.fill(0.0);
                    kernels::depthwise_weights(level, w, x, gradient, &mut sums);
                    total.iter_mut().zip(&sums).for_each(|(t, s)| *t += f64::from(*s));
                }
                total
            }));
            let turned = (0..weights.len()).map(|i| sums[i % taps * w.channels + i / taps]);
            back.add_sums(1, turned);
        }
        let Some(target) = back.target(0) else { return };
        let (add, turns) = (target.adds(), turns(w));
        let (weights, turned) = (by_tap(weights, w.channels, turns), w.turned());
        cx.threads.split(target.to, size, |first, part| {
            for (i, to) in part.chunks_exact_mut(size).enumerate() {
                let gradient = &gradient[(first + i) * out..][..out];
                if turns {
                    kernels::depthwise(level, &turned, (gradient, &weights), to, add);
                } else {
                    kernels::depthwise_inputs(level, w, (gradient, &weights), to, add);
                }
            }
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }
}
