//! One pass over the rows for one or several queries: filters resolved to places, rows widened tile by tile, scores
//! ranked. Used by `flat.rs`.

use half::f16;

use crate::{
    GalleryError, Hits, Query,
    block::Block,
    directory::{Directory, admits},
    kernel,
    ranking::Ranking,
};

/// How far a vector's length may be off one: half precision rounds by 2⁻¹¹ per value.
const UNIT_TOLERANCE: f32 = 0.01;

/// A vector the rows can be compared with: of `dim` values and unit length.
pub fn check_vector(values: &[f32], dim: usize) -> Result<(), GalleryError> {
    if values.len() != dim || dim == 0 {
        return Err(GalleryError::Dimension { expected: dim, got: values.len() });
    }
    let norm = kernel::dot(values, values).sqrt();
    if norm.is_finite() && (norm - 1.0).abs() <= UNIT_TOLERANCE { Ok(()) } else { Err(GalleryError::NotUnit) }
}

/// One query under way.
pub struct Scan<'q> {
    query: &'q Query<'q>,
    /// Places its filters admit; `None` admits all.
    admitted: Option<Vec<u64>>,
    subjects: usize,
    compared: usize,
    ranking: Ranking,
}

impl<'q> Scan<'q> {
    /// Resolves the query's filters.
    pub fn new(query: &'q Query<'q>, directory: &Directory) -> Self {
        let (admitted, subjects) = match directory.admitted(query) {
            Some((places, subjects)) => (Some(places), subjects),
            None => (None, directory.subjects()),
        };
        Self { query, admitted, subjects, compared: 0, ranking: Ranking::new(query) }
    }

    /// Which of the 64 places from `64 * word` on the filters admit.
    fn admitted(&self, word: usize) -> u64 {
        self.admitted.as_ref().map_or(u64::MAX, |places| places.get(word).copied().unwrap_or(0))
    }

    /// Takes the scores of a tile.
    fn take(&mut self, block: &Block, first_word: usize, slots: &[usize], scores: &[f32]) {
        for (&slot, &score) in slots.iter().zip(scores) {
            if self.admitted(first_word + slot / 64) & (1 << (slot % 64)) == 0 {
                continue;
            }
            self.compared += 1;
            if !self.ranking.wants(score) {
                continue;
            }
            // Asked again, since the place may have been given to another subject after the filters were resolved.
            if let Some(owner) = block.owner(slot)
                && (self.admitted.is_none() || admits(self.query, &owner.subject.entry()))
            {
                self.ranking.offer(score, owner);
            }
        }
    }

    /// The answer.
    pub fn finish(self) -> Hits {
        Hits {
            hits: self.ranking.into_hits(),
            compared_rows: self.compared,
            compared_subjects: self.subjects,
            exact: true,
        }
    }
}

/// Rows widened to single precision, overwritten when the scan ends.
pub struct Tile {
    dim: usize,
    values: Vec<f32>,
    slots: Vec<usize>,
    scores: Vec<f32>,
}

impl Tile {
    /// For rows of `dim` values.
    pub fn new(dim: usize) -> Self {
        let rows = kernel::tile_rows(dim);
        Self { dim, values: vec![0.0; rows * dim], slots: Vec::with_capacity(rows), scores: vec![0.0; rows] }
    }

    /// Takes a row in; true when the tile is full.
    fn push(&mut self, slot: usize, row: &[f16]) -> bool {
        kernel::widen(row, &mut self.values[self.slots.len() * self.dim..][..self.dim]);
        self.slots.push(slot);
        self.slots.len() == self.scores.len()
    }

    /// Compares the rows taken in with every query and starts afresh.
    fn flush(&mut self, block: &Block, first_word: usize, scans: &mut [Scan<'_>]) {
        let n = self.slots.len();
        for scan in scans {
            kernel::dots(&self.values[..n * self.dim], scan.query.values, &mut self.scores[..n]);
            scan.take(block, first_word, &self.slots, &self.scores[..n]);
        }
        self.slots.clear();
    }
}

impl Drop for Tile {
    fn drop(&mut self) {
        self.values.fill(0.0);
        std::hint::black_box(&mut self.values);
    }
}

/// Compares the live rows of one block that any query admits. `first_word` is the block's first place by 64.
pub fn scan_block(block: &Block, first_word: usize, scans: &mut [Scan<'_>], tile: &mut Tile) {
    for (word, &live) in block.live().iter().enumerate() {
        let mut wanted = live & scans.iter().fold(0, |any, scan| any | scan.admitted(first_word + word));
        while wanted != 0 {
            let slot = word * 64 + wanted.trailing_zeros() as usize;
            wanted &= wanted - 1;
            if tile.push(slot, block.row(slot)) {
                tile.flush(block, first_word, scans);
            }
        }
    }
    tile.flush(block, first_word, scans);
}

/// Places whose bits are set.
pub fn live_slots(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    (0..words.len() * 64).filter(|slot| words[slot / 64] & (1 << (slot % 64)) != 0)
}
