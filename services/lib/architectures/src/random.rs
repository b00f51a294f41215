//! The random numbers behind fresh weights. The same seed gives the same weights on every machine of one kind.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform within ± `reach`.
    pub(crate) fn uniform(&mut self, reach: f32) -> f32 {
        ((2.0 * self.unit() - 1.0) * f64::from(reach)) as f32
    }

    /// Normal of this deviation (Box and Muller 1958).
    pub(crate) fn normal(&mut self, deviation: f32) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (radius * (TAU * self.unit()).cos() * f64::from(deviation)) as f32
    }

    /// Normal, drawn again where it is beyond two deviations.
    pub(crate) fn truncated(&mut self, deviation: f32) -> f32 {
        loop {
            let value = self.normal(deviation);
            if value.abs() <= 2.0 * deviation {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_spread_they_are_asked_for() {
        let mut random = Random::new(7);
        let n = 20_000;
        let deviation =
            |values: Vec<f32>| (values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64).sqrt();
        let normal = deviation((0..n).map(|_| random.normal(0.1)).collect());
        assert!((normal - 0.1).abs() < 0.003, "{normal}");
        let uniform = deviation((0..n).map(|_| random.uniform(0.3)).collect());
        assert!((uniform - 0.3 / 3f64.sqrt()).abs() < 0.005, "{uniform}");
        assert!((0..n).all(|_| random.truncated(0.02).abs() <= 0.04));
    }
}
