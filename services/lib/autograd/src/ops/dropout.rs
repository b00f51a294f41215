//! Dropout. What is dropped follows from the seed, the node and the place alone, so nothing is kept of it.

use super::{Back, Context, Op};

/// Drops values while training and makes up for it in those that stay.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// Share of values that are dropped.
    pub ratio: f32,
}

/// Whether the value at `place` stays: a mix of all bits of seed and place (after SplitMix64's finaliser) against the
/// ratio.
fn stays(seed: u64, place: usize, ratio: f32) -> bool {
    let mut z = seed.wrapping_add((place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    ((z >> 40) as f32) >= ratio * (1u64 << 24) as f32
}

impl Op for Dropout {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        if !cx.training {
            output.copy_from_slice(inputs[0]);
            return;
        }
        let (by, ratio, seed) = (1.0 / (1.0 - self.ratio), self.ratio, cx.seed);
        for (place, (to, x)) in output.iter_mut().zip(inputs[0]).enumerate() {
            *to = if stays(seed, place, ratio) { x * by } else { 0.0 };
        }
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (by, ratio, seed) = (1.0 / (1.0 - self.ratio), self.ratio, cx.seed);
        let gradient = back.gradient;
        let Some(target) = back.target(0) else { return };
        let (flow, to) = target.flow(gradient);
        for (place, to) in to.iter_mut().enumerate() {
            let g = flow.from.map_or(*to, |from| from[place]);
            let dx = if stays(seed, place, ratio) { g * by } else { 0.0 };
            *to = if flow.add { *to + dx } else { dx };
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }

    fn cheap(&self) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_dropped_as_the_ratio_says_and_not_the_same_each_time() {
        let kept = |seed| (0..100_000).filter(|p| stays(seed, *p, 0.4)).count() as f64 / 1e5;
        assert!((kept(1) - 0.6).abs() < 0.01 && (kept(2) - 0.6).abs() < 0.01);
        let both = (0..100_000).filter(|p| stays(1, *p, 0.4) && stays(2, *p, 0.4)).count() as f64 / 1e5;
        assert!((both - 0.36).abs() < 0.01, "{both}");
    }
}
