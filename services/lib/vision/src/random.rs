//! The random numbers behind augmentation and training. Streams are named by what they are for, so that a draw depends
//! on nothing that was drawn before it: same names, same numbers, whatever else happens.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of these numbers, such as a seed, an epoch and a sample.
    #[must_use]
    pub fn of(names: &[u64]) -> Self {
        let mut random = Self(0x6a09_e667_f3bc_c909);
        for name in names {
            random.0 = random.draw() ^ name.wrapping_mul(0xff51_afd7_ed55_8ccd);
        }
        random.draw();
        random
    }

    /// 64 random bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between the two ends, which are part of it.
    pub fn within(&mut self, [low, high]: [f32; 2]) -> f32 {
        let value = f64::from(low) + (f64::from(high) - f64::from(low)) * self.unit();
        (value as f32).clamp(low, high)
    }

    /// Uniform in 0..n up to a bias of n / 2⁶⁴; 0 for none.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.draw()) * n as u128) >> 64) as usize
    }

    /// True this often.
    pub fn chance(&mut self, share: f32) -> bool {
        self.unit() < f64::from(share)
    }

    /// Two independent standard normals (Box and Muller 1958).
    pub fn normals(&mut self) -> [f32; 2] {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (TAU * self.unit()).sin_cos();
        [(radius * cos) as f32, (radius * sin) as f32]
    }

    /// 0..n in a random order (Fisher and Yates).
    #[must_use]
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        for last in (1..n).rev() {
            all.swap(last, self.below(last + 1));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_come_again() {
        let first = |names: &[u64]| Random::of(names).draw();
        let all = [first(&[1]), first(&[2]), first(&[1, 0]), first(&[0, 1]), first(&[1, 0, 0]), first(&[])];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
    }

    #[test]
    fn draws_have_the_spread_they_promise() {
        let mut random = Random::of(&[5]);
        let n = 10_000;
        let normals: Vec<f64> = (0..n).flat_map(|_| random.normals()).map(f64::from).collect();
        let mean = normals.iter().sum::<f64>() / normals.len() as f64;
        let variance = normals.iter().map(|v| v * v).sum::<f64>() / normals.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
        let mut order = random.permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }
}
