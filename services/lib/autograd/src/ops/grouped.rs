//! Convolutions in many small groups (two channels each, in w600k_mbf): a sum of depthwise convolutions, one for each
//! place in a group. As products of matrices they would be all overhead.

use super::{
    Back, Context, Op,
    conv::bias_back,
    depthwise::{sizes, turns},
    total,
};
use crate::kernels::{self, Window};

/// Groups of `size` channels, as many out as in.
#[derive(Clone, Debug)]
pub struct Grouped {
    /// Sizes; channels are all of them.
    pub window: Window,
    /// Channels of a group.
    pub size: usize,
}

impl Grouped {
    /// For one place in the group the weights of all outputs, tap by tap.
    fn by_tap(&self, weights: &[f32], place: usize, turned: bool) -> Vec<f32> {
        let taps = self.window.kernel[0] * self.window.kernel[1];
        let of_place: Vec<f32> =
            weights.chunks_exact(taps * self.size).flat_map(|w| &w[place * taps..][..taps]).copied().collect();
        super::depthwise::by_tap(&of_place, self.window.channels, turned)
    }

    fn weights_back(&self, cx: &Context<'_>, (x, gradient): (&[f32], &[f32]), place: usize) -> Vec<f64> {
        let (w, level, (size, out)) = (&self.window, cx.level, sizes(&self.window));
        let len = w.kernel[0] * w.kernel[1] * w.channels;
        total(cx.threads.ranges(gradient.len() / out, true, |images| {
            let (mut sums, mut total, mut one) = (vec![0.0; len], vec![0.0; len], vec![0.0; size]);
            for image in images {
                kernels::spread_group(level, self.size, place, &x[image * size..][..size], &mut one);
                sums.fill(0.0);
                kernels::depthwise_weights(level, w, &one, &gradient[image * out..][..out], &mut sums);
                total.iter_mut().zip(&sums).for_each(|(t, s)| *t += f64::from(*s));
            }
            total
        }))
    }
}

impl Op for Grouped {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (w, level, (size, out)) = (&self.window, cx.level, sizes(&self.window));
        let weights: Vec<_> = (0..self.size).map(|place| self.by_tap(inputs[1], place, false)).collect();
        cx.threads.split(output, out, |first, part| {
            let mut one = vec![0.0; size];
            for (i, y) in part.chunks_exact_mut(out).enumerate() {
                if let Some(bias) = inputs.get(2) {
                    y.chunks_exact_mut(w.channels).for_each(|y| y.copy_from_slice(bias));
                }
                for (place, weights) in weights.iter().enumerate() {
                    let x = &inputs[0][(first + i) * size..][..size];
                    kernels::spread_group(level, self.size, place, x, &mut one);
                    kernels::depthwise(level, w, (&one, weights), y, place > 0 || inputs.len() > 2);
                }
            }
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (w, level, (size, out)) = (&self.window, cx.level, sizes(&self.window));
        let (x, weights, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        bias_back(cx, &mut back, 2, w.channels);
        if back.target(1).is_some() {
            let taps = w.kernel[0] * w.kernel[1];
            let places: Vec<_> = (0..self.size).map(|place| self.weights_back(cx, (x, gradient), place)).collect();
            let (channels, group) = (w.channels, self.size);
            let turned = (0..weights.len()).map(|i| places[i / taps % group][i % taps * channels + i / (taps * group)]);
            back.add_sums(1, turned);
        }
        let Some(target) = back.target(0) else { return };
        let turns = turns(w);
        let weights: Vec<_> = (0..self.size).map(|place| self.by_tap(weights, place, turns)).collect();
        let turned = w.turned();
        cx.threads.split(target.cleared(), size, |first, part| {
            let mut one = vec![0.0; size];
            for (i, to) in part.chunks_exact_mut(size).enumerate() {
                let gradient = &gradient[(first + i) * out..][..out];
                for (place, weights) in weights.iter().enumerate() {
                    if turns {
                        kernels::depthwise(level, &turned, (gradient, weights), &mut one, false);
                    } else {
                        kernels::depthwise_inputs(level, w, (gradient, weights), &mut one, false);
                    }
                    kernels::gather_group(level, self.size, place, &one, to);
                }
            }
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }
}
