//! The exact index in memory: rows in blocks, found again by the directory. Created by the follower for each embedding
//! contract of a collection; searched by the worker through [`Index`].
//!
//! Locks are taken in the order directory, list of blocks, block, and a scan holds none but the block it reads, so
//! searches and changes run side by side and each waits for one block at most.

mod search;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use domain::ContractId;
use parking_lot::RwLock;
use store::SubjectHandle;

use crate::{
    GalleryError, Hits, Index, Query, Row, RowKey, SubjectEntry,
    block::{Block, Coded, block_rows, row_bytes},
    combine::Combiner,
    directory::Directory,
    epochs::Epochs,
    kernels::{Kernel, WORD_ROWS},
    pool::Pool,
    probe::check_vector,
    sweep::SharedBlock,
};
use search::Counts;
pub use search::Work;

#[derive(Default)]
struct Blocks {
    /// Values per row; 0 until the first row comes.
    dim: usize,
    list: Vec<SharedBlock>,
}

/// Exact index over half-precision rows of one embedding contract.
pub struct FlatIndex {
    contract: ContractId,
    directory: RwLock<Directory>,
    blocks: RwLock<Blocks>,
    epochs: Epochs,
    kernel: Kernel,
    pool: Arc<Pool>,
    combiner: Combiner,
    counts: Counts,
    /// Raised before the rows are overwritten for good, so that a search that meets such rows notices in the end.
    closed: AtomicBool,
}

impl FlatIndex {
    /// An empty index; the first row sets the dimension. Large scans are shared by as many threads as there are cores.
    #[must_use]
    pub fn new(contract: ContractId) -> Self {
        Self::with_threads(contract, 0)
    }

    /// An empty index whose scans are shared by at most `threads` threads; 0 for as many as there are cores.
    #[must_use]
    pub fn with_threads(contract: ContractId, threads: usize) -> Self {
        Self::with_pool(contract, &Arc::new(Pool::new(threads)))
    }

    /// An empty index whose scans are shared by the threads of `pool`.
    pub(crate) fn with_pool(contract: ContractId, pool: &Arc<Pool>) -> Self {
        Self {
            contract,
            directory: RwLock::default(),
            blocks: RwLock::default(),
            epochs: Epochs::default(),
            kernel: Kernel::best(),
            pool: Arc::clone(pool),
            combiner: Combiner::default(),
            counts: Counts::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Contract of the rows.
    #[must_use]
    pub const fn contract(&self) -> ContractId {
        self.contract
    }

    /// Whether there is a row under this key.
    #[must_use]
    pub fn contains(&self, key: &RowKey) -> bool {
        self.directory.read().contains(key.handle, &key.face_id)
    }

    /// Whether exactly this template is under the row's key.
    #[must_use]
    pub fn holds(&self, row: &Row<'_>) -> bool {
        let place = self.directory.read().place_of(row.key.handle, &row.key.face_id);
        let found = place.and_then(|place| self.block_of(place));
        found.is_some_and(|(block, slot)| {
            let _reading = self.epochs.enter();
            block.read().row(slot) == row.template.values()
        })
    }

    /// What is known of a subject that has rows here.
    #[must_use]
    pub fn subject(&self, handle: SubjectHandle) -> Option<Arc<SubjectEntry>> {
        self.directory.read().entry(handle)
    }

    /// Removes every row and overwrites its bytes.
    pub fn clear(&self) {
        let mut directory = self.directory.write();
        let places = directory.remove_all();
        self.erase(&mut directory, &places);
    }

    /// Removes and overwrites every row and takes none any more; searches that have not ended fail.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.clear();
    }

    fn check_open(&self) -> Result<(), GalleryError> {
        if self.closed.load(Ordering::Acquire) { Err(GalleryError::LetGo) } else { Ok(()) }
    }

    /// The live rows of block `n` as the store's template bytes, for a snapshot; `None` past the last block.
    pub(crate) fn export(&self, n: usize) -> Option<Vec<(RowKey, Vec<u8>)>> {
        let block = self.blocks.read().list.get(n).map(Arc::clone)?;
        let _reading = self.epochs.enter();
        let block = block.read();
        let mut rows = Vec::new();
        for slot in 0..block_rows(block.dim()) {
            let Some(owner) = block.owner(slot) else { continue };
            let mut bytes = self.contract.as_bytes().to_vec();
            bytes.extend(block.row(slot).iter().flat_map(|v| v.to_le_bytes()));
            rows.push((RowKey { handle: owner.subject.handle, face_id: owner.face_id.clone() }, bytes));
        }
        Some(rows)
    }

    /// Every value as it lies in memory, in both forms, dead rows too: lets a test show that erased rows are gone.
    #[doc(hidden)]
    #[must_use]
    pub fn raw_values(&self) -> Vec<u16> {
        self.blocks.read().list.iter().flat_map(|b| b.read().raw().collect::<Vec<_>>()).collect()
    }

    fn check_row(&self, row: &Row<'_>, dim: usize) -> Result<(), GalleryError> {
        if row.template.contract() != self.contract {
            return Err(GalleryError::Contract { expected: self.contract, got: row.template.contract() });
        }
        let wide = row.template.to_f32();
        check_vector(&wide, dim)
    }

    /// Fixes the dimension if no row came before.
    fn settle_dim(&self, first: Option<&Row<'_>>) -> usize {
        let mut blocks = self.blocks.write();
        if blocks.dim == 0 {
            blocks.dim = first.map_or(0, |row| row.template.values().len());
        }
        blocks.dim
    }

    /// Adds a block of free places to `free` and returns one more.
    fn grow(&self, free: &mut Vec<u32>) -> Result<u32, GalleryError> {
        let mut blocks = self.blocks.write();
        let rows = block_rows(blocks.dim);
        let first = blocks.list.len() * rows;
        let first = u32::try_from(first).map_err(|_| GalleryError::Full)?;
        let last = u32::try_from(rows - 1).ok().and_then(|n| first.checked_add(n)).ok_or(GalleryError::Full)?;
        let block = Block::new(blocks.dim);
        blocks.list.push(Arc::new(RwLock::new(block)));
        free.extend((first + 1..=last).rev());
        Ok(first)
    }

    fn block_of(&self, place: u32) -> Option<(SharedBlock, usize)> {
        let blocks = self.blocks.read();
        let rows = block_rows(blocks.dim);
        blocks.list.get(place as usize / rows).map(|b| (Arc::clone(b), place as usize % rows))
    }

    /// Overwrites the rows at `places` and makes these free.
    fn erase(&self, directory: &mut Directory, places: &[u32]) {
        for &place in places {
            if let Some((block, slot)) = self.block_of(place) {
                block.write().erase(slot);
            }
        }
        directory.release(places.iter().copied());
        if directory.len() == 0 {
            directory.reset_places();
            self.blocks.write().list.clear();
        }
    }
}

impl Index for FlatIndex {
    fn upsert(&self, rows: &[Row<'_>]) -> Result<(), GalleryError> {
        let mut directory = self.directory.write();
        self.check_open()?;
        let dim = match self.blocks.read().dim {
            0 => rows.first().map_or(0, |row| row.template.values().len()),
            dim => dim,
        };
        rows.iter().try_for_each(|row| self.check_row(row, dim))?;
        self.settle_dim(rows.first());
        let mut coded = Coded::new(dim);
        for row in rows {
            let key = &row.key;
            let (owner, place) = directory.place(key, &row.subject, |free| self.grow(free))?;
            coded.code(self.kernel, row.template.values());
            if let Some((block, slot)) = self.block_of(place) {
                block.write().put(slot, row.template.values(), &coded, owner);
            }
        }
        Ok(())
    }

    fn delete(&self, keys: &[RowKey]) -> usize {
        let mut directory = self.directory.write();
        let places: Vec<u32> = keys.iter().filter_map(|k| directory.remove(k.handle, &k.face_id)).collect();
        self.erase(&mut directory, &places);
        places.len()
    }

    fn delete_subject(&self, handle: SubjectHandle) -> usize {
        let mut directory = self.directory.write();
        let places = directory.remove_subject(handle);
        self.erase(&mut directory, &places);
        places.len()
    }

    fn update_subject(&self, handle: SubjectHandle, subject: Arc<SubjectEntry>) -> bool {
        self.directory.write().update(handle, subject)
    }

    fn search(&self, query: &Query<'_>) -> Result<Hits, GalleryError> {
        let mut hits = self.search_many(std::slice::from_ref(query))?;
        hits.pop().ok_or(GalleryError::Behind)
    }

    fn search_many(&self, queries: &[Query<'_>]) -> Result<Vec<Hits>, GalleryError> {
        self.answer(queries)
    }

    fn erase_barrier(&self) {
        // A delete overwrites before it returns; what remains is scans that hold its bounds.
        self.epochs.barrier();
    }

    fn exact(&self) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.directory.read().len()
    }

    fn subjects(&self) -> usize {
        self.directory.read().subjects()
    }

    fn bytes(&self) -> usize {
        let directory = self.directory.read();
        let blocks = self.blocks.read();
        directory.touched().next_multiple_of(WORD_ROWS) * row_bytes(blocks.dim)
            + directory.len() * Directory::ROW_BYTES
            + directory.subjects() * Directory::SUBJECT_BYTES
    }
}
