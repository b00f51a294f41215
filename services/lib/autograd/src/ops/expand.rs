//! What is the same for all samples, once for each: a class token before it joins its sequence.

use super::{Back, Context, Op};

/// Repeats a tensor for every sample.
#[derive(Clone, Copy, Debug)]
pub struct Expand;

impl Op for Expand {
    fn forward(&mut self, _cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        output.chunks_exact_mut(inputs[0].len()).for_each(|to| to.copy_from_slice(inputs[0]));
    }

    fn backward(&mut self, _cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let gradient = back.gradient;
        let Some(target) = back.target(0) else { return };
        let to = target.cleared();
        for gradient in gradient.chunks_exact(to.len()) {
            to.iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }
}
