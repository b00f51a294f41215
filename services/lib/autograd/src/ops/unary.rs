//! Functions of one value at a time.

use super::{Back, Context, Op, part_of};
use crate::kernels::{self, Unary};

/// A function applied to every value.
#[derive(Clone, Debug)]
pub struct Function(pub Unary);

impl Op for Function {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let level = cx.level;
        cx.threads.split(output, 1, |first, y| kernels::unary(level, self.0, &inputs[0][first..][..y.len()], y));
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (level, x, gradient) = (cx.level, back.inputs[0], back.gradient);
        let Some(target) = back.target(0) else { return };
        let (flow, to) = target.flow(gradient);
        cx.threads.split(to, 1, |first, to| {
            let x = x.get(first..first + to.len()).unwrap_or(&[]);
            kernels::unary_back(level, self.0, x, part_of(flow, first, to.len()), to);
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        !matches!(self.0, Unary::Line(..))
    }

    fn in_place(&self) -> bool {
        true
    }

    fn cheap(&self) -> bool {
        true
    }
}
