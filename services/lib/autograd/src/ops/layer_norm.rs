//! Layer normalisation over the last axes.

use super::{Back, Context, Op, part_of, total};
use crate::kernels;

/// Rows brought to mean 0 and variance 1, then scaled and shifted.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Length of a row.
    pub len: usize,
    /// Added to variances.
    pub epsilon: f32,
}

impl Op for LayerNorm {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let level = cx.level;
        let zeros = vec![0.0; self.len];
        let norm = (inputs[1], inputs.get(2).map_or(&*zeros, |b| b), self.epsilon);
        cx.threads.split(output, self.len, |first, y| {
            kernels::layer_norm(level, &inputs[0][first * self.len..][..y.len()], norm, y);
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (level, len, gradient) = (cx.level, self.len, back.gradient);
        let (x, norm) = (back.inputs[0], (back.inputs[1], self.epsilon));
        let mut unwanted = Vec::new();
        let sums = {
            let (flow, to) = match back.target(0) {
                Some(target) => target.flow(gradient),
                None => {
                    unwanted.resize(x.len(), 0.0);
                    (kernels::Flow { from: Some(gradient), add: false }, &mut *unwanted)
                }
            };
            total(cx.threads.split(to, len, |first, to| {
                let x = &x[first * len..][..to.len()];
                kernels::layer_norm_back(level, x, norm, part_of(flow, first * len, to.len()), to)
            }))
        };
        back.add_sums(1, sums[..len].iter().copied());
        back.add_sums(2, sums[len..].iter().copied());
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn cheap(&self) -> bool {
        true
    }
}
