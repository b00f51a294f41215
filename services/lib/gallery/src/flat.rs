//! The exact index in memory: rows in blocks, found again by the directory. Created by the follower for each embedding
//! contract of a collection; searched by the worker through [`Index`].
//!
//! Locks are taken in the order directory, list of blocks, block, and a scan holds none but the block it reads, so
//! searches and changes run side by side and each waits for one block at most.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use domain::ContractId;
use parking_lot::RwLock;
use store::SubjectHandle;

use crate::{
    GalleryError, Hits, Index, Query, Row, RowKey, SubjectEntry,
    block::{Block, Coded, block_rows, row_bytes},
    combine::{Answers, Combiner, Failed, MOST_PROBES},
    directory::Directory,
    epochs::Epochs,
    kernels::{Kernel, WORD_ROWS},
    pool::Pool,
    probe::{Places, Probe, check_vector},
    sweep::{SharedBlock, Sweep, pick},
};

/// Bytes of codes times probes below which a scan is over before anybody could help with it, or wait to join it.
const SMALL_SCAN: usize = 16 << 20;

#[derive(Default)]
struct Blocks {
    /// Values per row; 0 until the first row comes.
    dim: usize,
    list: Vec<SharedBlock>,
}

/// What searches of an index have cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Passes over the rows.
    pub passes: u64,
    /// Probes that were answered.
    pub probes: u64,
    /// Rows whose canonical values were read, of all probes together.
    pub scored_rows: u64,
}

#[derive(Default)]
struct Counts {
    passes: AtomicU64,
    probes: AtomicU64,
    scored_rows: AtomicU64,
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

    /// What searches have cost so far.
    #[must_use]
    pub fn work(&self) -> Work {
        let Counts { passes, probes, scored_rows } = &self.counts;
        let [passes, probes, scored_rows] = [passes, probes, scored_rows].map(|n| n.load(Ordering::Relaxed));
        Work { passes, probes, scored_rows }
    }

    /// Whether a search with so many probes may wait for one under way, to go together with others: its caller then
    /// should not hold what others need to join.
    #[must_use]
    pub fn shares_passes(&self, probes: usize) -> bool {
        let blocks = self.blocks.read();
        blocks.list.len() * block_rows(blocks.dim) * blocks.dim * probes >= SMALL_SCAN
    }

    /// Every value as it lies in memory, in both forms, dead rows too: lets a test show that erased rows are gone.
    #[doc(hidden)]
    #[must_use]
    pub fn raw_values(&self) -> Vec<u16> {
        self.blocks.read().list.iter().flat_map(|b| b.read().raw().collect::<Vec<_>>()).collect()
    }

    /// The blocks as they are now, and how many rows each has.
    fn snapshot(&self) -> (Vec<SharedBlock>, usize) {
        let blocks = self.blocks.read();
        (blocks.list.clone(), block_rows(blocks.dim))
    }

    /// Answers probes that admit many rows; together with others, where that pays.
    fn scan(&self, probes: Vec<Arc<Probe>>) -> Result<Vec<Hits>, GalleryError> {
        let answers = if self.shares_passes(probes.len()) {
            self.combiner.run(probes, |probes| self.pass(probes, self.pool.threads()))
        } else {
            self.pass(probes, 1)
        };
        answers.map_err(|failed| match failed {
            Failed::Closed => GalleryError::LetGo,
            Failed::Broken => GalleryError::Broken,
        })
    }

    /// One pass over the rows.
    fn pass(&self, probes: Vec<Arc<Probe>>, threads: usize) -> Answers {
        let _reading = self.epochs.enter();
        let (blocks, rows) = self.snapshot();
        let (threads, n) = (threads.min(blocks.len()), probes.len());
        let sweep = Arc::new(Sweep::new(self.kernel, blocks, rows, probes));
        let done = self.pool.run(&sweep, threads);
        let (hits, scored) = sweep.finish();
        self.count(n, scored);
        if self.closed.load(Ordering::Acquire) {
            Err(Failed::Closed)
        } else if done {
            Ok(hits)
        } else {
            Err(Failed::Broken)
        }
    }

    /// Answers a probe that admits few rows.
    fn pick(&self, probe: &Probe) -> Result<Hits, GalleryError> {
        let _reading = self.epochs.enter();
        let (blocks, rows) = self.snapshot();
        let (hits, scored) = pick(self.kernel, &blocks, rows, probe);
        self.count(1, scored);
        self.check_open()?;
        Ok(hits)
    }

    fn count(&self, probes: usize, scored: usize) {
        self.counts.passes.fetch_add(1, Ordering::Relaxed);
        self.counts.probes.fetch_add(probes as u64, Ordering::Relaxed);
        self.counts.scored_rows.fetch_add(scored as u64, Ordering::Relaxed);
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
        let dim = self.blocks.read().dim;
        queries.iter().try_for_each(|q| check_vector(q.values, if dim == 0 { q.values.len() } else { dim }))?;
        let probes: Vec<Arc<Probe>> = {
            let directory = self.directory.read();
            queries.iter().map(|q| Arc::new(Probe::new(q, &directory, self.kernel))).collect()
        };
        let mut answers: Vec<Option<Hits>> = Vec::new();
        let mut scanned = Vec::new();
        for probe in &probes {
            let few = matches!(probe.places, Places::Few(_));
            answers.push(if few { Some(self.pick(probe)?) } else { None });
            scanned.extend((!few).then(|| Arc::clone(probe)));
        }
        let mut found = Vec::new();
        for some in scanned.chunks(MOST_PROBES) {
            found.extend(self.scan(some.to_vec())?);
        }
        let mut found = found.into_iter();
        Ok(answers.into_iter().filter_map(|answer| answer.or_else(|| found.next())).collect())
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
