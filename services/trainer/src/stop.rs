//! Whether a run is to stop, and why: set by whoever watches the lane, read by the thread that learns after each step.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::Halt;

/// Nothing is in the way.
const GO: u8 = 0;
const NOT_OURS: u8 = 1;
const DRAINING: u8 = 2;

/// Set once; the first reason counts, but that the run is not ours counts above all.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

impl Stop {
    /// The run was cancelled or is another's.
    pub fn not_ours(&self) {
        self.0.store(NOT_OURS, Ordering::Release);
    }

    /// The trainer is to stop.
    pub fn draining(&self) {
        // Fails where there is a reason already, which stays.
        let _ = self.0.compare_exchange(GO, DRAINING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Goes on unless there is a reason not to.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), Halt> {
        match self.0.load(Ordering::Acquire) {
            GO => Ok(()),
            DRAINING => Err(Halt::Draining),
            _ => Err(Halt::NotOurs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts_unless_the_run_is_not_ours() {
        let stop = Stop::default();
        assert!(stop.check().is_ok());
        stop.draining();
        assert!(matches!(stop.check(), Err(Halt::Draining)));
        stop.not_ours();
        stop.draining();
        assert!(matches!(stop.check(), Err(Halt::NotOurs)));
    }
}
