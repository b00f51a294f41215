//! A contiguous run of rows in half precision, with which of them are live and whose they are. The unit of locking:
//! a search reads one block at a time, a writer waits for one block's scan at most. Used by `flat.rs`.

use std::sync::Arc;

use half::{
    f16,
    slice::{HalfBitsSliceExt, HalfFloatSliceExt},
};

use crate::directory::RowRef;

/// Values a block aims to hold: 256 KiB.
const BLOCK_VALUES: usize = 128 * 1024;

/// Rows per block for rows of `dim` values: a power of two and a multiple of 64, so that liveness is whole words.
pub fn block_rows(dim: usize) -> usize {
    let fit = (BLOCK_VALUES / dim.max(1)).clamp(64, 1024);
    1 << fit.ilog2()
}

/// Rows, their liveness and their owners.
pub struct Block {
    dim: usize,
    /// Row-major. Kept as bits: a zeroed vector of integers costs no memory until its pages are touched.
    values: Vec<u16>,
    live: Vec<u64>,
    owners: Vec<Option<Arc<RowRef>>>,
}

impl Block {
    /// A block of dead rows.
    pub fn new(dim: usize) -> Self {
        let rows = block_rows(dim);
        Self { dim, values: vec![0; rows * dim], live: vec![0; rows / 64], owners: vec![None; rows] }
    }

    /// Bytes a block for rows of `dim` values takes.
    pub fn bytes(dim: usize) -> usize {
        block_rows(dim) * (2 * dim + size_of::<Option<Arc<RowRef>>>()) + block_rows(dim) / 8
    }

    /// Writes a row, over whatever was there.
    pub fn put(&mut self, slot: usize, values: &[f16], owner: Arc<RowRef>) {
        self.values[slot * self.dim..][..self.dim].copy_from_slice(values.reinterpret_cast());
        self.live[slot / 64] |= 1 << (slot % 64);
        self.owners[slot] = Some(owner);
    }

    /// Kills a row and overwrites its values.
    pub fn erase(&mut self, slot: usize) {
        self.live[slot / 64] &= !(1 << (slot % 64));
        self.values[slot * self.dim..][..self.dim].fill(0);
        self.owners[slot] = None;
    }

    /// Which rows are live, a bit each.
    pub fn live(&self) -> &[u64] {
        &self.live
    }

    /// Values of one row.
    pub fn row(&self, slot: usize) -> &[f16] {
        self.values[slot * self.dim..][..self.dim].reinterpret_cast()
    }

    /// Whose row it is; `None` for a dead one.
    pub fn owner(&self, slot: usize) -> Option<&Arc<RowRef>> {
        self.owners[slot].as_ref()
    }

    /// All values as they lie in memory, dead rows too.
    pub fn raw(&self) -> &[u16] {
        &self.values
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
        std::hint::black_box(&mut self.values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_words_for_every_dimension() {
        for dim in [0, 1, 3, 64, 127, 128, 512, 1024, 4096, 1 << 20] {
            let rows = block_rows(dim);
            assert!(rows.is_power_of_two() && (64..=1024).contains(&rows), "{dim}: {rows}");
        }
        assert_eq!((block_rows(128), block_rows(512)), (1024, 256));
    }
}
