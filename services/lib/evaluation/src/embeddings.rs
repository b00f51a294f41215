//! Embeddings in one block of memory, and exact comparisons of all with all. Plain on purpose: what it gives is what
//! the service's search is measured against. Used by calibration and identification.

use std::collections::BTreeSet;

use crate::bootstrap::SplitMix;

/// Unit vectors of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    dim: usize,
    values: Vec<f32>,
}

/// Scores of comparisons between different subjects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NonMatedScores {
    /// The scores, in no order.
    pub scores: Vec<f32>,
    /// How many comparisons there could be.
    pub possible: u64,
}

/// Two embeddings and their score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredPair {
    /// Place of the one.
    pub left: usize,
    /// Place of the other, after it.
    pub right: usize,
    /// Their score.
    pub score: f32,
}

/// Pairs of subjects that are one person under two names.
pub type SamePerson = BTreeSet<(u32, u32)>;

/// Parts of a sum that are added side by side, so that the compiler may use vector registers.
const LANES: usize = 16;

impl Embeddings {
    /// Adds one; the first decides on the length, and one of another length is refused (`false`).
    pub fn push(&mut self, vector: &[f32]) -> bool {
        if self.values.is_empty() {
            self.dim = vector.len();
        }
        let fits = !vector.is_empty() && vector.len() == self.dim;
        if fits {
            self.values.extend_from_slice(vector);
        }
        fits
    }

    /// Number of embeddings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dim).unwrap_or(0)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether embeddings of so many values belong here.
    #[must_use]
    pub const fn is_of_length(&self, values: usize) -> bool {
        self.dim == values
    }

    /// The embedding at a place below [`Self::len`].
    #[must_use]
    pub fn vector(&self, i: usize) -> &[f32] {
        self.row(i)
    }

    fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// Score (cosine) of two of them.
    ///
    /// # Panics
    /// Never for places below [`Self::len`].
    #[must_use]
    pub fn score(&self, i: usize, j: usize) -> f32 {
        dot(self.row(i), self.row(j))
    }

    /// Score of one of these with one of another set.
    #[must_use]
    pub fn score_with(&self, i: usize, other: &Self, j: usize) -> f32 {
        dot(self.row(i), other.row(j))
    }

    /// Scores of different subjects, all there are or, beyond `most`, as many drawn at random (seed 1). `subjects`
    /// numbers each embedding's subject; pairs in `same` are left out.
    #[must_use]
    pub fn non_mated(&self, subjects: &[u32], same: &SamePerson, most: usize) -> NonMatedScores {
        let n = self.len().min(subjects.len());
        let count = |i: usize| (i + 1..n).filter(|&j| differ(subjects, same, i, j)).count() as u64;
        let possible: u64 = (0..n).map(count).sum();
        let mut scores = Vec::with_capacity(possible.min(most as u64) as usize);
        if possible <= most as u64 {
            for i in 0..n {
                scores.extend((i + 1..n).filter(|&j| differ(subjects, same, i, j)).map(|j| self.score(i, j)));
            }
        } else {
            let mut random = SplitMix(1);
            while scores.len() < most {
                let (i, j) = (random.below(n), random.below(n));
                if i != j && differ(subjects, same, i, j) {
                    scores.push(self.score(i, j));
                }
            }
        }
        NonMatedScores { scores, possible }
    }

    /// Scores of all pairs of one subject.
    #[must_use]
    pub fn mated(&self, subjects: &[u32]) -> Vec<f32> {
        let n = self.len().min(subjects.len());
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        pairs.filter(|&(i, j)| subjects[i] == subjects[j]).map(|(i, j)| self.score(i, j)).collect()
    }

    /// Pairs of different subjects with at least this score, the highest first, and `most` at the most.
    #[must_use]
    pub fn non_mated_from(&self, subjects: &[u32], same: &SamePerson, least: f32, most: usize) -> Vec<ScoredPair> {
        let n = self.len().min(subjects.len());
        let mut found = Vec::new();
        for left in 0..n {
            for right in left + 1..n {
                if differ(subjects, same, left, right) {
                    let score = self.score(left, right);
                    if score >= least {
                        found.push(ScoredPair { left, right, score });
                    }
                }
            }
            if found.len() > 4 * most {
                keep_highest(&mut found, most);
            }
        }
        keep_highest(&mut found, most);
        found
    }
}

fn keep_highest(pairs: &mut Vec<ScoredPair>, most: usize) {
    pairs.sort_by(|a, b| b.score.total_cmp(&a.score).then((a.left, a.right).cmp(&(b.left, b.right))));
    pairs.truncate(most);
}

/// Whether two embeddings are of different persons, as far as anybody knows.
fn differ(subjects: &[u32], same: &SamePerson, i: usize, j: usize) -> bool {
    let (a, b) = (subjects[i].min(subjects[j]), subjects[i].max(subjects[j]));
    a != b && (same.is_empty() || !same.contains(&(a, b)))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (head_a, tail_a) = a.split_at(a.len() / LANES * LANES);
    let (head_b, tail_b) = b.split_at(b.len() / LANES * LANES);
    for (x, y) in head_a.chunks_exact(LANES).zip(head_b.chunks_exact(LANES)) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail_a.iter().zip(tail_b).map(|(x, y)| x * y).sum::<f32>()
}
