//! Vectors that behave like embeddings of faces, for tests and benches: samples of one subject have a cosine of about
//! 0.64, of two subjects a spread of 0.07 around zero, as measured on face models. Reproducible from their seeds.

/// Share of a sample's square length that is its subject's: 0.5 for a poor photo, 0.8 for a good one.
const QUALITY: (f32, f32) = (0.5, 0.8);

/// How the spread over directions falls off: fewer directions than dimensions carry most of what tells subjects apart.
const FALL: f32 = -0.3;

/// A population of subjects.
pub struct Faces {
    spread: Vec<f32>,
    signs: Vec<f32>,
}

impl Faces {
    /// Vectors of `dim` values.
    #[must_use]
    pub fn new(dim: usize) -> Self {
        let mut random = Random::new(dim as u64);
        let spread = (1..=dim).map(|n| (n as f32).powf(FALL)).collect();
        Self { spread, signs: (0..dim).map(|_| if random.next() & 1 == 0 { 1.0 } else { -1.0 }).collect() }
    }

    /// The given sample of a subject, of unit length.
    #[must_use]
    pub fn sample(&self, subject: u64, sample: u64) -> Vec<f32> {
        let mut random = Random::new(subject.wrapping_mul(0x9E37_79B9).wrapping_add(sample + 1).wrapping_mul(31));
        let own = QUALITY.0 + (QUALITY.1 - QUALITY.0) * random.unit();
        let mut vector = self.direction(&mut Random::new(subject ^ 0x5EED_0000_0000));
        let other = self.direction(&mut random);
        vector.iter_mut().zip(&other).for_each(|(v, o)| *v = own.sqrt() * *v + (1.0 - own).sqrt() * o);
        self.turn(&mut vector);
        scale_to_unit(&mut vector);
        vector
    }

    fn direction(&self, random: &mut Random) -> Vec<f32> {
        let mut vector: Vec<f32> = self.spread.iter().map(|s| s * random.normal()).collect();
        scale_to_unit(&mut vector);
        vector
    }

    /// The same rotation for all vectors, so that no value stands out: signs, then Walsh–Hadamard transforms of the
    /// longest head and tail that have one.
    fn turn(&self, vector: &mut [f32]) {
        vector.iter_mut().zip(&self.signs).for_each(|(v, s)| *v *= s);
        if vector.is_empty() {
            return;
        }
        let whole = 1 << vector.len().ilog2();
        hadamard(&mut vector[..whole]);
        if whole < vector.len() {
            let from = vector.len() - whole;
            hadamard(&mut vector[from..]);
        }
    }
}

fn hadamard(vector: &mut [f32]) {
    let mut half = 1;
    while half < vector.len() {
        for pair in vector.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        half *= 2;
    }
    let length = (vector.len() as f32).sqrt();
    vector.iter_mut().for_each(|v| *v /= length);
}

fn scale_to_unit(vector: &mut [f32]) {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|v| *v /= length);
}

/// Small and fast (splitmix64); for nothing that must not be guessed.
struct Random(u64);

impl Random {
    const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Nearly normal: the sum of four uniform numbers, of mean 0 and variance 1.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|n| (bits >> (16 * n)) & 0xFFFF).sum();
        (sum as f32 / 65_536.0 - 2.0) * 3.0f32.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_behave_like_faces() {
        for dim in [128, 200, 512] {
            let faces = Faces::new(dim);
            let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let n = 400u64;
            let first: Vec<Vec<f32>> = (0..n).map(|s| faces.sample(s, 0)).collect();
            let mated = (0..n).map(|s| cosine(&first[s as usize], &faces.sample(s, 1))).sum::<f32>() / n as f32;
            let others: Vec<f32> = first.windows(2).map(|w| cosine(&w[0], &w[1])).collect();
            let spread = (others.iter().map(|c| c * c).sum::<f32>() / others.len() as f32).sqrt();
            assert!((0.60..0.70).contains(&mated), "{dim}: {mated}");
            assert!((0.04..0.13).contains(&spread), "{dim}: {spread}");
        }
    }
}
