//! Some places of an axis: slices, parts of a split, gathered rows.

use super::{Back, Context, Op};

/// Copies the places of one axis that are named.
#[derive(Clone, Debug)]
pub struct Take {
    /// Size of the axis.
    pub size: usize,
    /// Values behind each place of it.
    pub inner: usize,
    /// The places that are taken, in order.
    pub places: Vec<usize>,
}

impl Op for Take {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (from, to) = (self.size * self.inner, self.places.len() * self.inner);
        cx.threads.split(output, to, |first, part| {
            for (from, to) in inputs[0][first * from..].chunks_exact(from).zip(part.chunks_exact_mut(to)) {
                for (place, to) in self.places.iter().zip(to.chunks_exact_mut(self.inner)) {
                    to.copy_from_slice(&from[place * self.inner..][..self.inner]);
                }
            }
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (to, from) = (self.size * self.inner, self.places.len() * self.inner);
        let gradient = back.gradient;
        let Some(target) = back.target(0) else { return };
        cx.threads.split(target.cleared(), to, |first, part| {
            for (to, from) in part.chunks_exact_mut(to).zip(gradient[first * from..].chunks_exact(from)) {
                for (place, from) in self.places.iter().zip(from.chunks_exact(self.inner)) {
                    let to = &mut to[place * self.inner..][..self.inner];
                    to.iter_mut().zip(from).for_each(|(to, g)| *to += g);
                }
            }
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }

    fn cheap(&self) -> bool {
        true
    }
}
