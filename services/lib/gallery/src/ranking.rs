//! The best rows seen so far of one search, optionally the best of each subject. Used by `flat.rs`.

use std::{cmp::Ordering, sync::Arc};

use crate::{Hit, Query, directory::RowRef};

struct Ranked {
    score: f32,
    row: Arc<RowRef>,
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

/// A candidate list, sorted, of bounded length.
pub struct Ranking {
    limit: usize,
    fold: bool,
    min_score: f32,
    best: Vec<Ranked>,
}

impl Ranking {
    /// An empty list for `query`.
    pub fn new(query: &Query<'_>) -> Self {
        let min_score = query.min_score.unwrap_or(f32::NEG_INFINITY);
        Self { limit: query.limit, fold: query.unique_subjects, min_score, best: Vec::new() }
    }

    /// Whether a row of this score could enter; false for a score that is no number.
    pub fn wants(&self, score: f32) -> bool {
        score >= self.min_score
            && self.limit > 0
            && (self.best.len() < self.limit || self.best.last().is_none_or(|worst| score >= worst.score))
    }

    /// Enters a row if it belongs among the best.
    pub fn offer(&mut self, score: f32, row: &Arc<RowRef>) {
        // Zero has two signs; they rank as equal.
        let new = Ranked { score: score + 0.0, row: Arc::clone(row) };
        if let Some(at) = self.best.iter().position(|old| old.rivals(&new, self.fold)) {
            if self.best[at].order(&new) != Ordering::Greater {
                return;
            }
            self.best.remove(at);
        }
        let at = self.best.partition_point(|old| old.order(&new) == Ordering::Less);
        if at < self.limit {
            self.best.truncate(self.limit - 1);
            self.best.insert(at, new);
        }
    }

    /// The list, best first.
    pub fn into_hits(self) -> Vec<Hit> {
        let hit = |r: Ranked| Hit { subject: r.row.subject.entry(), face_id: r.row.face_id.clone(), score: r.score };
        self.best.into_iter().map(hit).collect()
    }
}
