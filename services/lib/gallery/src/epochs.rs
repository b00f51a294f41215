//! Knows which readers of the rows are still under way, so that an erasure can wait for those that began before it
//! without holding up those that begin after. Used by `flat.rs`.

use std::collections::BTreeMap;

use parking_lot::{Condvar, Mutex};

#[derive(Default)]
struct State {
    now: u64,
    /// Readers under way by the epoch they began in; no zero counts.
    reading: BTreeMap<u64, usize>,
}

/// Readers by epoch.
#[derive(Default)]
pub struct Epochs {
    state: Mutex<State>,
    left: Condvar,
}

/// A reader under way; ends when dropped.
pub struct Reading<'a> {
    epochs: &'a Epochs,
    epoch: u64,
}

impl Epochs {
    /// Begins to read.
    pub fn enter(&self) -> Reading<'_> {
        let mut state = self.state.lock();
        let epoch = state.now;
        *state.reading.entry(epoch).or_default() += 1;
        Reading { epochs: self, epoch }
    }

    /// Returns when every reader that began before this call has ended.
    pub fn barrier(&self) {
        let mut state = self.state.lock();
        state.now += 1;
        let mine = state.now;
        while state.reading.first_key_value().is_some_and(|(&oldest, _)| oldest < mine) {
            self.left.wait(&mut state);
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.epochs.state.lock();
        if let Some(n) = state.reading.get_mut(&self.epoch) {
            *n -= 1;
            if *n == 0 {
                state.reading.remove(&self.epoch);
                self.epochs.left.notify_all();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_barrier_waits_for_earlier_readers_and_not_for_later_ones() {
        let epochs = Epochs::default();
        let early = epochs.enter();
        std::thread::scope(|s| {
            let (passed, result) = mpsc::channel();
            let epochs = &epochs;
            s.spawn(move || {
                epochs.barrier();
                passed.send(()).unwrap();
            });
            // The barrier has begun once the epoch has advanced.
            while epochs.state.lock().now == 0 {
                std::thread::yield_now();
            }
            let late = epochs.enter();
            assert!(result.try_recv().is_err(), "passed an earlier reader");
            drop(early);
            result.recv().unwrap();
            drop(late);
        });
        epochs.barrier();
    }
}
