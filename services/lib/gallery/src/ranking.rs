//! The best rows seen so far of one search, optionally the best of each subject, and what they prove about the rest.
//! Used by `sweep.rs`.

use std::{cmp::Ordering, sync::Arc};

use store::SubjectHandle;

use crate::{Hit, directory::RowRef};

/// A row and its score.
pub struct Ranked {
    /// Cosine.
    pub score: f32,
    /// Which row.
    pub row: Arc<RowRef>,
}

impl Ranked {
    /// Best first: score descending, then face id, then handle.
    fn order(&self, other: &Self) -> Ordering {
        let face = || self.row.face_id.cmp(&other.row.face_id);
        let handle = || self.row.subject.handle.cmp(&other.row.subject.handle);
        other.score.total_cmp(&self.score).then_with(face).then_with(handle)
    }

    /// Whether the list may hold only one of the two.
    fn rivals(&self, other: &Self, fold: bool) -> bool {
        let (a, b) = (&self.row, &other.row);
        let subject = Arc::ptr_eq(&a.subject, &b.subject) || a.subject.handle == b.subject.handle;
        // A row that moved while the scan ran is met twice.
        subject && (fold || a.face_id == b.face_id)
    }
}

/// What a candidate list is to hold.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// At most this many rows.
    pub limit: usize,
    /// One row per subject.
    pub fold: bool,
    /// Only rows that score at least this much; −∞ for all.
    pub min_score: f32,
}

/// A candidate list, sorted, of bounded length.
pub struct Ranking {
    wanted: Wanted,
    best: Vec<Ranked>,
}

impl Ranking {
    /// An empty list.
    pub const fn new(wanted: Wanted) -> Self {
        Self { wanted, best: Vec::new() }
    }

    /// What a row must score at least to enter: the worst of a full list, which one of the same score may displace.
    pub fn floor(&self) -> f32 {
        let Wanted { limit, min_score, .. } = self.wanted;
        match self.best.last() {
            _ if limit == 0 => f32::INFINITY,
            Some(worst) if self.best.len() == limit => worst.score.max(min_score),
            _ => min_score,
        }
    }

    /// Enters a row if it belongs among the best.
    pub fn offer(&mut self, score: f32, row: &Arc<RowRef>) {
        let Wanted { limit, fold, min_score } = self.wanted;
        // Zero has two signs; they rank as equal.
        let new = Ranked { score: score + 0.0, row: Arc::clone(row) };
        // A score that is no number reaches nothing.
        let reaches = score >= min_score && limit > 0;
        let last = self.best.last().filter(|_| self.best.len() == limit);
        if !reaches || last.is_some_and(|worst| worst.order(&new) == Ordering::Less) {
            return;
        }
        if let Some(at) = self.best.iter().position(|old| old.rivals(&new, fold)) {
            if self.best[at].order(&new) != Ordering::Greater {
                return;
            }
            self.best.remove(at);
        }
        let at = self.best.partition_point(|old| old.order(&new) == Ordering::Less);
        if at < limit {
            self.best.truncate(limit - 1);
            self.best.insert(at, new);
        }
    }

    /// Takes in what another list of the same search holds.
    pub fn merge(&mut self, other: Self) {
        other.best.iter().for_each(|r| self.offer(r.score, &r.row));
    }

    /// The list, best first.
    pub fn into_hits(self) -> Vec<Hit> {
        let hit = |r: Ranked| Hit { subject: r.row.subject.entry(), face_id: r.row.face_id.clone(), score: r.score };
        self.best.into_iter().map(hit).collect()
    }
}

/// The best lower bounds among the rows of one block: what as many rows, or subjects, are certain to score.
pub struct Proven {
    limit: usize,
    fold: bool,
    best: Vec<(f32, SubjectHandle)>,
}

impl Proven {
    /// Nothing proven yet.
    pub const fn new(wanted: Wanted) -> Self {
        Self { limit: wanted.limit, fold: wanted.fold, best: Vec::new() }
    }

    /// Forgets all, before another block.
    pub fn clear(&mut self) {
        self.best.clear();
    }

    /// What the last of the rows wanted scores at least; `None` while too few were offered.
    pub fn floor(&self) -> Option<f32> {
        self.best.last().filter(|_| self.best.len() == self.limit).map(|&(lower, _)| lower)
    }

    /// A row of `subject` scores at least `lower`. No row may be offered twice between two calls of [`Self::clear`].
    pub fn offer(&mut self, lower: f32, subject: SubjectHandle) {
        if self.limit == 0 || self.floor().is_some_and(|floor| lower <= floor) {
            return;
        }
        if let Some(at) = self.best.iter().position(|&(_, s)| self.fold && s == subject) {
            if self.best[at].0 >= lower {
                return;
            }
            self.best.remove(at);
        }
        self.best.truncate(self.limit - 1);
        let at = self.best.partition_point(|&(l, _)| l >= lower);
        self.best.insert(at, (lower, subject));
    }
}
