//! Softmax over the last axis.

use super::{Back, Context, Op, part_of};
use crate::kernels;

/// Rows to shares that add up to 1.
#[derive(Clone, Debug)]
pub struct Softmax {
    /// Length of a row.
    pub len: usize,
}

impl Op for Softmax {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (level, len) = (cx.level, self.len);
        cx.threads.split(output, len, |first, y| kernels::softmax(level, len, &inputs[0][first * len..][..y.len()], y));
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (level, len, y, gradient) = (cx.level, self.len, back.output, back.gradient);
        let Some(target) = back.target(0) else { return };
        let (flow, to) = target.flow(gradient);
        cx.threads.split(to, len, |first, to| {
            let y = &y[first * len..][..to.len()];
            kernels::softmax_back(level, len, y, part_of(flow, first * len, to.len()), to);
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }

    fn cheap(&self) -> bool {
        true
    }

    fn reads_output(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }
}
