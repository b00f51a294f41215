//! A contiguous run of rows: their canonical values in half precision, the 8-bit copy that is scanned first, which of
//! them are live and whose they are. The unit of locking: a search reads one block at a time, a writer waits for one
//! block's scan at most. Used by `flat.rs` and `sweep.rs`.

use std::sync::Arc;

use half::{
    f16,
    slice::{HalfBitsSliceExt, HalfFloatSliceExt},
};

use crate::{
    directory::RowRef,
    kernels::{Kernel, STEP_BYTES, STEP_DIMS, Tile, WORD_ROWS, steps},
};

/// Bytes the 8-bit copy of a block aims at: long enough that a scan runs at the speed of memory.
const BLOCK_CODES: usize = 1 << 20;

/// Rows per block for rows of `dim` values: a power of two and a multiple of 64, so that liveness is whole words.
pub fn block_rows(dim: usize) -> usize {
    let fit = (BLOCK_CODES / dim.max(1)).clamp(WORD_ROWS, 8192);
    1 << fit.ilog2()
}

/// Bytes of a row that was ever used: both copies, scale, residual and owner.
pub const fn row_bytes(dim: usize) -> usize {
    2 * dim + STEP_DIMS * steps(dim) + 2 * size_of::<f32>() + size_of::<Option<Arc<RowRef>>>()
}

/// The 8-bit form of one row, overwritten when dropped.
pub struct Coded {
    codes: Vec<u8>,
    scale: f32,
    residual: f32,
}

impl Coded {
    /// Room for rows of `dim` values.
    pub fn new(dim: usize) -> Self {
        Self { codes: vec![0; STEP_DIMS * steps(dim)], scale: 0.0, residual: 0.0 }
    }

    /// Codes a row of as many values.
    pub fn code(&mut self, kernel: Kernel, values: &[f16]) {
        (self.scale, self.residual) = kernel.quantise(values.reinterpret_cast(), &mut self.codes);
    }
}

impl Drop for Coded {
    fn drop(&mut self) {
        self.codes.fill(0);
        std::hint::black_box(&mut self.codes);
    }
}

/// Rows, their liveness and their owners. Vectors of zeros cost no memory until their pages are touched, so a block
/// takes as much as the rows that were put into it.
pub struct Block {
    dim: usize,
    /// Row-major, as bits.
    values: Vec<u16>,
    /// See [`Tile::codes`]; begins at `codes_at`, a cache line.
    codes: Vec<u8>,
    codes_at: usize,
    scales: Vec<f32>,
    /// Of a row that never was, or was erased: 0 with a scale of 0. Only live rows are asked for.
    residuals: Vec<f32>,
    live: Vec<u64>,
    owners: Vec<Option<Arc<RowRef>>>,
}

impl Block {
    /// A block of dead rows.
    pub fn new(dim: usize) -> Self {
        let rows = block_rows(dim);
        let codes = vec![0; rows * steps(dim) * STEP_DIMS + 63];
        let codes_at = codes.as_ptr().align_offset(64).min(63);
        Self {
            dim,
            values: vec![0; rows * dim],
            codes,
            codes_at,
            scales: vec![0.0; rows],
            residuals: vec![0.0; rows],
            live: vec![0; rows / WORD_ROWS],
            owners: vec![None; rows],
        }
    }

    /// Writes a row and its coded form, over whatever was there.
    pub fn put(&mut self, slot: usize, values: &[f16], coded: &Coded, owner: Arc<RowRef>) {
        self.values[slot * self.dim..][..self.dim].copy_from_slice(values.reinterpret_cast());
        self.set_codes(slot, coded.codes.as_chunks().0.iter().copied());
        (self.scales[slot], self.residuals[slot]) = (coded.scale, coded.residual);
        self.live[slot / WORD_ROWS] |= 1 << (slot % WORD_ROWS);
        self.owners[slot] = Some(owner);
    }

    /// Kills a row and overwrites both copies of its values.
    pub fn erase(&mut self, slot: usize) {
        self.live[slot / WORD_ROWS] &= !(1 << (slot % WORD_ROWS));
        self.values[slot * self.dim..][..self.dim].fill(0);
        self.set_codes(slot, std::iter::repeat([0; STEP_DIMS]));
        (self.scales[slot], self.residuals[slot]) = (0.0, 0.0);
        self.owners[slot] = None;
    }

    fn set_codes(&mut self, slot: usize, codes: impl Iterator<Item = [u8; STEP_DIMS]>) {
        let word = steps(self.dim) * STEP_BYTES;
        let rows = &mut self.codes[self.codes_at + slot / WORD_ROWS * word..][..word];
        for (step, code) in rows.chunks_exact_mut(STEP_BYTES).zip(codes) {
            step[slot % WORD_ROWS * STEP_DIMS..][..STEP_DIMS].copy_from_slice(&code);
        }
    }

    /// Values per row.
    pub const fn dim(&self) -> usize {
        self.dim
    }

    /// Which rows are live, a bit each.
    pub fn live(&self) -> &[u64] {
        &self.live
    }

    /// Values of one row.
    pub fn row(&self, slot: usize) -> &[f16] {
        self.bits(slot).reinterpret_cast()
    }

    /// Values of one row, as bits.
    pub fn bits(&self, slot: usize) -> &[u16] {
        &self.values[slot * self.dim..][..self.dim]
    }

    /// The 8-bit form of `n` words of rows from word `first` on.
    pub fn tile(&self, first: usize, n: usize) -> Tile<'_> {
        let rows = first * WORD_ROWS..(first + n) * WORD_ROWS;
        Tile {
            codes: self.codes(first, n),
            scales: &self.scales[rows.clone()],
            residuals: &self.residuals[rows],
            steps: steps(self.dim),
        }
    }

    /// Codes of up to `n` words from word `first` on, as many as there are.
    pub fn codes(&self, first: usize, n: usize) -> &[u8] {
        let (word, words) = (steps(self.dim) * STEP_BYTES, self.live.len());
        let (first, last) = (first.min(words), (first + n).min(words));
        &self.codes[self.codes_at + first * word..self.codes_at + last * word]
    }

    /// Whose row it is; `None` for a dead one.
    pub fn owner(&self, slot: usize) -> Option<&Arc<RowRef>> {
        self.owners[slot].as_ref()
    }

    /// Bound on what rounding to 8 bits took from a row's length.
    pub fn residual(&self, slot: usize) -> f32 {
        self.residuals[slot]
    }

    /// All values as they lie in memory, dead rows too, and after them all codes, two at a time.
    pub fn raw(&self) -> impl Iterator<Item = u16> + '_ {
        let codes = self.codes.as_chunks().0.iter().map(|b| u16::from_ne_bytes(*b));
        self.values.iter().copied().chain(codes)
    }
}

/// A freed block leaves no template behind in the process's memory.
impl Drop for Block {
    fn drop(&mut self) {
        for slot in 0..self.owners.len() {
            if self.owners[slot].is_some() {
                self.erase(slot);
            }
        }
        // Keeps the compiler from leaving out writes to memory that is about to be freed.
        std::hint::black_box((&mut self.values, &mut self.codes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_for_every_dimension() {
        for dim in [0, 1, 3, 64, 127, 128, 512, 1024, 4096, 1 << 20] {
            let rows = block_rows(dim);
            assert!(rows.is_power_of_two() && (64..=8192).contains(&rows), "{dim}: {rows}");
        }
        assert_eq!((block_rows(128), block_rows(512)), (8192, 2048));
        assert_eq!((row_bytes(128), row_bytes(512)), (400, 1552));
    }

    #[test]
    fn an_erased_row_is_gone_from_both_copies_and_its_neighbours_stay() {
        let (dim, rows) = (37, 130);
        let faces = crate::synthetic::Faces::new(dim);
        let (mut block, mut coded) = (Block::new(dim), Coded::new(dim));
        let values = |n: usize| faces.sample(n as u64, 0).iter().map(|v| f16::from_f32(*v)).collect::<Vec<_>>();
        let codes = |block: &Block, slot: usize| -> Vec<u8> {
            let word = block.codes(slot / WORD_ROWS, 1);
            word.chunks(STEP_BYTES)
                .flat_map(|step| step[slot % WORD_ROWS * STEP_DIMS..][..STEP_DIMS].to_vec())
                .collect()
        };
        for slot in 0..rows {
            coded.code(Kernel::best(), &values(slot));
            block.put(slot, &values(slot), &coded, RowRef::for_tests());
        }
        let before: Vec<Vec<u8>> = (0..rows).map(|slot| codes(&block, slot)).collect();
        assert!(before.iter().all(|c| c[..dim].iter().all(|b| *b > 0)), "codes are never zero");
        let gone = |slot: usize| slot.is_multiple_of(3);
        (0..rows).filter(|slot| gone(*slot)).for_each(|slot| block.erase(slot));
        for (slot, before) in before.into_iter().enumerate() {
            let erased = vec![0; before.len()];
            assert_eq!(codes(&block, slot), if gone(slot) { erased } else { before });
            let kept = if gone(slot) { vec![f16::ZERO; dim] } else { values(slot) };
            assert_eq!(block.row(slot), kept);
        }
        assert_eq!(block.live()[0].count_ones() + block.live()[1].count_ones() + block.live()[2].count_ones(), 86);
    }
}
