//! Tensors one behind the other along an axis.

use super::{Back, Context, Op};

/// Joins its inputs.
#[derive(Clone, Debug)]
pub struct Concat {
    /// Of each input, the values that lie together: its part of the axis and all axes behind it.
    pub runs: Vec<usize>,
}

impl Op for Concat {
    fn forward(&mut self, _cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let whole: usize = self.runs.iter().sum();
        let mut first = 0;
        for (input, run) in inputs.iter().zip(&self.runs) {
            for (from, to) in input.chunks_exact(*run).zip(output.chunks_exact_mut(whole)) {
                to[first..first + run].copy_from_slice(from);
            }
            first += run;
        }
    }

    fn backward(&mut self, _cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let whole: usize = self.runs.iter().sum();
        let mut first = 0;
        for (index, run) in self.runs.iter().enumerate() {
            let gradient = back.gradient;
            if let Some(target) = back.target(index) {
                for (to, from) in target.cleared().chunks_exact_mut(*run).zip(gradient.chunks_exact(whole)) {
                    to.iter_mut().zip(&from[first..]).for_each(|(to, g)| *to += g);
                }
            }
            first += run;
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }
}
