//! For one purpose: how many rows a search leaves out at this moment, because no consent of their subjects covers it or
//! the last one has ended. Moves on with time and is kept along with the directory, so that no search has to count. Time
//! never runs backwards here: what has ended stays so, whatever becomes of the clock. Used by `directory.rs`.

use std::collections::BTreeSet;

use domain::{Purpose, Timestamp};
use store::SubjectHandle;

use crate::Terms;

/// What a search leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Rows.
    pub rows: usize,
    /// Subjects.
    pub subjects: usize,
    /// The moment it was asked for, or a later one that was asked for before.
    pub at: Timestamp,
}

/// One purpose's count.
pub struct Tally {
    /// Which purpose.
    pub purpose: Purpose,
    at: i64,
    /// Subjects that may be matched until a moment yet to come.
    ends: BTreeSet<(i64, SubjectHandle)>,
    rows: usize,
    subjects: usize,
}

impl Tally {
    /// Of nobody, at the beginning of time.
    pub const fn new(purpose: Purpose) -> Self {
        Self { purpose, at: i64::MIN, ends: BTreeSet::new(), rows: 0, subjects: 0 }
    }

    /// A subject with so many rows comes.
    pub fn enter(&mut self, handle: SubjectHandle, terms: &Terms, rows: usize) {
        let until = terms.until(&self.purpose);
        if until <= self.at {
            self.rows += rows;
            self.subjects += 1;
        } else if until < i64::MAX {
            self.ends.insert((until, handle));
        }
    }

    /// A subject that came with these terms and so many rows goes.
    pub fn leave(&mut self, handle: SubjectHandle, terms: &Terms, rows: usize) {
        let until = terms.until(&self.purpose);
        if until <= self.at {
            self.rows = self.rows.saturating_sub(rows);
            self.subjects = self.subjects.saturating_sub(1);
        } else {
            self.ends.remove(&(until, handle));
        }
    }

    /// What is left out at `now`. `rows` tells how many rows a subject has.
    pub fn left_out(&mut self, now: Timestamp, rows: impl Fn(SubjectHandle) -> usize) -> LeftOut {
        self.at = self.at.max(now.as_millis());
        while let Some(&(until, handle)) = self.ends.first()
            && until <= self.at
        {
            self.ends.pop_first();
            self.rows += rows(handle);
            self.subjects += 1;
        }
        LeftOut { rows: self.rows, subjects: self.subjects, at: Timestamp::from_millis(self.at) }
    }
}
