//! One pass over the rows for one or several searches, by as many threads as join in: the 8-bit copy is scanned, rows
//! that may belong among the best are scored by their canonical values. Exact: a row is passed over only when its upper
//! bound is below what enough other rows are certain to score. Used by `flat.rs`.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use crate::{
    Hits,
    block::Block,
    kernels::{Found, Kernel, Lane, MAX_LANES, TILE_WORDS, WORD_ROWS},
    pool::Job,
    probe::{Places, Probe},
    ranking::{Proven, Ranking},
};

/// A block as searches and changes share it.
pub type SharedBlock = Arc<RwLock<Block>>;

/// A block being read.
struct Here<'b> {
    block: &'b Block,
    /// Its first place, by 64.
    first_word: usize,
}

impl Here<'_> {
    /// Live rows of a word that the probe's filters admit.
    fn admitted(&self, probe: &Probe, word: usize) -> u64 {
        self.block.live()[word] & probe.admitted(self.first_word + word)
    }
}

/// A row that may belong among the best.
struct Candidate {
    slot: usize,
    upper: f32,
}

/// One search under way on one thread.
struct Track<'p> {
    kernel: Kernel,
    probe: &'p Probe,
    /// Scores below this cannot enter the answer.
    floor: f32,
    proven: Proven,
    candidates: Vec<Candidate>,
    part: Part,
}

/// What one thread found out for one search.
struct Part {
    ranking: Ranking,
    compared: usize,
    scored: usize,
}

impl Part {
    fn new(probe: &Probe) -> Self {
        Self { ranking: Ranking::new(probe.wanted), compared: 0, scored: 0 }
    }
}

impl<'p> Track<'p> {
    fn new(probe: &'p Probe, kernel: Kernel) -> Self {
        let part = Part::new(probe);
        let (floor, proven) = (part.ranking.floor(), Proven::new(probe.wanted));
        Self { kernel, probe, floor, proven, candidates: Vec::new(), part }
    }

    /// Takes the rows of a word that may reach the floor.
    fn take(&mut self, here: &Here<'_>, word: usize, mask: u64, uppers: &[f32]) {
        let block = here.block;
        let mut left = mask & here.admitted(self.probe, word);
        while left != 0 {
            let row = left.trailing_zeros() as usize;
            left &= left - 1;
            let (slot, upper) = (word * WORD_ROWS + row, self.probe.upper(uppers[row]));
            // Raised by the rows before it.
            if upper < self.floor {
                continue;
            }
            let Some(owner) = block.owner(slot).filter(|o| self.probe.admits(|| o.subject.entry())) else { continue };
            // Scored at the block's end: by then it is in the cache.
            self.kernel.prefetch(block.bits(slot));
            self.candidates.push(Candidate { slot, upper });
            self.proven.offer(self.probe.lower(upper, block.residual(slot)), owner.subject.handle);
            if let Some(proven) = self.proven.floor() {
                self.floor = self.floor.max(proven);
            }
        }
    }

    /// Scores the block's candidates that are still possible.
    fn settle(&mut self, block: &Block) {
        self.candidates.retain(|c| c.upper >= self.floor);
        for c in &self.candidates {
            let score = self.kernel.dot(block.bits(c.slot), &self.probe.values);
            if let Some(owner) = block.owner(c.slot).filter(|_| score >= self.part.ranking.floor()) {
                self.part.ranking.offer(score, owner);
            }
        }
        self.part.scored += self.candidates.len();
        self.floor = self.floor.max(self.part.ranking.floor());
        self.candidates.clear();
        self.proven.clear();
    }
}

/// One pass, shared by the threads that work on it.
pub struct Sweep {
    kernel: Kernel,
    blocks: Vec<SharedBlock>,
    words_per_block: usize,
    probes: Vec<Arc<Probe>>,
    /// The next block nobody has begun.
    next: AtomicUsize,
    /// What every search's answer is already known to reach, whichever thread found out; as [`ordered`] bits.
    floors: Vec<AtomicU32>,
    parts: Mutex<Vec<Vec<Part>>>,
}

impl Sweep {
    /// Of `probes` over `blocks`, which have that many rows each.
    pub fn new(kernel: Kernel, blocks: Vec<SharedBlock>, block_rows: usize, probes: Vec<Arc<Probe>>) -> Self {
        Self {
            kernel,
            blocks,
            words_per_block: block_rows / WORD_ROWS,
            floors: probes.iter().map(|p| AtomicU32::new(ordered(Ranking::new(p.wanted).floor()))).collect(),
            probes,
            next: AtomicUsize::new(0),
            parts: Mutex::default(),
        }
    }

    /// The answers in the order of the probes, and how many rows were scored. To be called when all threads are done.
    pub fn finish(&self) -> (Vec<Hits>, usize) {
        let mut merged: Vec<Part> = self.probes.iter().map(|p| Part::new(p)).collect();
        for parts in self.parts.lock().drain(..) {
            for (whole, part) in merged.iter_mut().zip(parts) {
                whole.ranking.merge(part.ranking);
                whole.compared += part.compared;
                whole.scored += part.scored;
            }
        }
        let scored = merged.iter().map(|p| p.scored).sum();
        (merged.into_iter().zip(&self.probes).map(|(part, probe)| hits(part, probe)).collect(), scored)
    }

    fn scan_block(&self, here: &Here<'_>, tracks: &mut [Track<'_>], found: &mut Found) {
        let live = here.block.live();
        let rows = live.iter().map(|word| word.count_ones() as usize).sum::<usize>();
        for track in tracks.iter_mut() {
            track.part.compared += match track.probe.places {
                Places::All => rows,
                _ => (0..live.len()).map(|word| here.admitted(track.probe, word).count_ones() as usize).sum(),
            };
        }
        let wanted = |word| tracks.iter().any(|t| here.admitted(t.probe, word) != 0);
        let wanted: Vec<bool> = (0..live.len()).map(wanted).collect();
        let mut word = 0;
        while word < wanted.len() {
            // Nothing is known before the first rows: the fewer they are, the fewer are candidates without need.
            let most = if tracks.iter().any(|t| t.floor == f32::NEG_INFINITY) { 1 } else { TILE_WORDS };
            let run = wanted[word..].iter().take(most).take_while(|w| **w).count();
            if run > 0 {
                self.scan_tile(here, word..word + run, tracks, found);
            }
            word += run.max(1);
        }
        tracks.iter_mut().for_each(|t| t.settle(here.block));
    }

    /// Compares some words of rows with all probes, some at a time, and has the next words brought in meanwhile.
    fn scan_tile(&self, here: &Here<'_>, words: Range<usize>, tracks: &mut [Track<'_>], found: &mut Found) {
        let tile = here.block.tile(words.start, words.len());
        let ahead = here.block.codes(words.end, words.len());
        let passes = tracks.len().div_ceil(self.kernel.lanes()).max(1);
        let share = (ahead.len() / 64).div_ceil(passes) * 64;
        let (even, more) = (tracks.len() / passes, tracks.len() % passes);
        let mut rest = tracks;
        for pass in 0..passes {
            let (now, later) = rest.split_at_mut(even + usize::from(pass < more));
            rest = later;
            let none = Lane { codes: &[], bias: 0, gain: 0.0, floor: 0.0 };
            let mut lanes = [none; MAX_LANES];
            for (lane, track) in lanes.iter_mut().zip(now.iter()) {
                *lane = track.probe.lane(track.floor);
            }
            let from = (pass * share).min(ahead.len());
            let to = (from + share).min(ahead.len());
            self.kernel.scan(&tile, &lanes[..now.len()], &ahead[from..to], found);
            for (lane, track) in now.iter_mut().enumerate() {
                for (n, word) in words.clone().enumerate() {
                    let mask = found.mask(lane, n);
                    if mask != 0 {
                        track.take(here, word, mask, found.uppers(lane, n));
                    }
                }
            }
        }
    }
}

impl Job for Sweep {
    /// Scans blocks until none is left.
    fn work(&self) {
        let mut tracks: Vec<Track<'_>> = self.probes.iter().map(|p| Track::new(p, self.kernel)).collect();
        let mut found = Found::default();
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = self.blocks.get(n) else { break };
            for (track, floor) in tracks.iter_mut().zip(&self.floors) {
                track.floor = track.floor.max(unordered(floor.load(Ordering::Relaxed)));
            }
            let block = block.read();
            let here = Here { block: &block, first_word: n * self.words_per_block };
            self.scan_block(&here, &mut tracks, &mut found);
            drop(block);
            for (track, floor) in tracks.iter().zip(&self.floors) {
                floor.fetch_max(ordered(track.floor), Ordering::Relaxed);
            }
        }
        self.parts.lock().push(tracks.into_iter().map(|t| t.part).collect());
    }
}

/// A search whose filters admit few rows: these alone are scored. Returns how many, too.
pub fn pick(kernel: Kernel, blocks: &[SharedBlock], block_rows: usize, probe: &Probe) -> (Hits, usize) {
    let mut track = Track::new(probe, kernel);
    let Places::Few(places) = &probe.places else { return (hits(track.part, probe), 0) };
    for few in places.chunk_by(|a, b| *a as usize / block_rows == *b as usize / block_rows) {
        let Some(block) = few.first().and_then(|p| blocks.get(*p as usize / block_rows)) else { continue };
        let block = block.read();
        for slot in few.iter().map(|p| *p as usize % block_rows) {
            let Some(owner) = block.owner(slot) else { continue };
            track.part.compared += 1;
            if probe.admits(|| owner.subject.entry()) {
                track.candidates.push(Candidate { slot, upper: f32::INFINITY });
            }
        }
        track.settle(&block);
    }
    let scored = track.part.scored;
    (hits(track.part, probe), scored)
}

fn hits(part: Part, probe: &Probe) -> Hits {
    Hits {
        hits: part.ranking.into_hits(),
        // Those the permit leaves out lie between the others.
        compared_rows: part.compared.saturating_sub(probe.left_out),
        compared_subjects: probe.subjects,
        exact: true,
    }
}

/// Bits of a number in an order that is the numbers' own.
const fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

const fn unordered(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}
