//! How an index answers: probes with filters that admit few rows by those rows, all others by passes over all rows,
//! which large galleries share between callers and threads. A part of `flat.rs`.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::FlatIndex;
use crate::{
    GalleryError, Hits, Query,
    block::block_rows,
    combine::{Answers, Failed, MOST_PROBES},
    probe::{Places, Probe, check_vector},
    sweep::{SharedBlock, Sweep, pick},
};

/// Bytes of codes times probes below which a scan is over before anybody could help with it, or wait to join it.
const SMALL_SCAN: usize = 16 << 20;

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
pub struct Counts {
    passes: AtomicU64,
    probes: AtomicU64,
    scored_rows: AtomicU64,
}

impl FlatIndex {
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

    /// Answers queries in their order.
    pub(super) fn answer(&self, queries: &[Query<'_>]) -> Result<Vec<Hits>, GalleryError> {
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
}
