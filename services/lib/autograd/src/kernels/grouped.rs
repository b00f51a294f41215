//! Convolutions whose groups have a few channels each, as many out as in: a sum of depthwise convolutions, one for each
//! place in a group, whose input shows that place's channel to the whole group. Caller: `ops/grouped.rs`.

use super::kernel;

kernel! {
    /// Of each group of `size` channels the one at `place`, as often as the group has channels.
    pub fn spread_group(size: usize, place: usize, x: &[f32], to: &mut [f32]) {
        for (x, to) in x.chunks_exact(size).zip(to.chunks_exact_mut(size)) {
            to.fill(x[place]);
        }
    }
}

kernel! {
    /// The other way: each group's sum is added to the channel at `place`.
    pub fn gather_group(size: usize, place: usize, x: &[f32], to: &mut [f32]) {
        for (x, to) in x.chunks_exact(size).zip(to.chunks_exact_mut(size)) {
            to[place] += x.iter().sum::<f32>();
        }
    }
}
