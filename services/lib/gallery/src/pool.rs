//! Threads that help with large scans. The caller always works itself and never waits for a thread that is busy with
//! something else; helpers are started when they are first needed and stay. Used by `flat.rs`.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

/// Work that any number of threads may share.
pub trait Job: Send + Sync {
    /// Does a part of it, until nothing is left to begin.
    fn work(&self);
}

/// A request for one more thread on a job.
#[derive(Clone)]
struct Call {
    job: Arc<dyn Job>,
    crew: Arc<Crew>,
}

/// The helpers on one job.
#[derive(Default)]
struct Crew {
    state: Mutex<CrewState>,
    left: Condvar,
}

#[derive(Default)]
struct CrewState {
    working: usize,
    /// A helper ended without having done its part.
    failed: bool,
}

#[derive(Default)]
struct State {
    /// At most one call per helper for every job under way.
    calls: VecDeque<Call>,
    started: Vec<JoinHandle<()>>,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    called: Condvar,
}

/// A bounded number of threads.
pub struct Pool {
    helpers: usize,
    shared: Arc<Shared>,
}

impl Pool {
    /// `threads` threads in all, the caller's included; 0 for as many as the machine has cores.
    pub fn new(threads: usize) -> Self {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        Self { helpers: threads.saturating_sub(1), shared: Arc::default() }
    }

    /// Threads that may work on one job.
    pub const fn threads(&self) -> usize {
        self.helpers + 1
    }

    /// Works on `job` with up to `threads` threads; returns when no thread works on it any more. False when a thread
    /// failed and its part may be missing.
    pub fn run(&self, job: &Arc<impl Job + 'static>, threads: usize) -> bool {
        let wanted = threads.saturating_sub(1).min(self.helpers);
        if wanted == 0 {
            job.work();
            return true;
        }
        let crew = Arc::new(Crew::default());
        self.call(&Call { job: Arc::clone(job) as Arc<dyn Job>, crew: Arc::clone(&crew) }, wanted);
        job.work();
        // Who has not come by now finds nothing left to do.
        self.shared.state.lock().calls.retain(|c| !Arc::ptr_eq(&c.crew, &crew));
        let mut state = crew.state.lock();
        while state.working > 0 {
            crew.left.wait(&mut state);
        }
        !state.failed
    }

    fn call(&self, call: &Call, wanted: usize) {
        let mut state = self.shared.state.lock();
        for _ in 0..wanted {
            state.calls.push_back(call.clone());
            if state.idle < state.calls.len() && state.started.len() < self.helpers {
                let shared = Arc::clone(&self.shared);
                let name = format!("gallery-{}", state.started.len());
                // Without it the scan takes longer, and that is all.
                if let Ok(thread) = thread::Builder::new().name(name).spawn(move || help(&shared)) {
                    state.started.push(thread);
                }
            }
        }
        drop(state);
        self.shared.called.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let threads = {
            let mut state = self.shared.state.lock();
            state.closed = true;
            std::mem::take(&mut state.started)
        };
        self.shared.called.notify_all();
        for thread in threads {
            // One that panicked has told its crew.
            drop(thread.join());
        }
    }
}

/// Counts a helper in, and out again whatever happens.
struct Shift(Arc<Crew>);

impl Drop for Shift {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.working -= 1;
        state.failed |= thread::panicking();
        drop(state);
        self.0.left.notify_all();
    }
}

fn help(shared: &Shared) {
    loop {
        let (call, shift) = {
            let mut state = shared.state.lock();
            let call = loop {
                if let Some(call) = state.calls.pop_front() {
                    break call;
                }
                if state.closed {
                    return;
                }
                state.idle += 1;
                shared.called.wait(&mut state);
                state.idle -= 1;
            };
            // Under the pool's lock, so that the caller either withdraws the call or sees it taken.
            call.crew.state.lock().working += 1;
            let shift = Shift(Arc::clone(&call.crew));
            (call, shift)
        };
        call.job.work();
        drop(shift);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    struct Count {
        left: AtomicUsize,
        done: AtomicUsize,
        meet: Option<Barrier>,
    }

    impl Job for Count {
        fn work(&self) {
            if let Some(meet) = &self.meet {
                meet.wait();
            }
            while self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                self.done.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn count(n: usize, meet: Option<usize>) -> Arc<Count> {
        Arc::new(Count { left: AtomicUsize::new(n), done: AtomicUsize::new(0), meet: meet.map(Barrier::new) })
    }

    #[test]
    fn every_part_is_done_once_whoever_comes() {
        let pool = Pool::new(4);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    for _ in 0..200 {
                        let job = count(50, None);
                        assert!(pool.run(&job, 4));
                        assert_eq!(job.done.load(Ordering::SeqCst), 50);
                    }
                });
            }
        });
        assert!(pool.shared.state.lock().started.len() <= 3);
    }

    /// The barrier lets nobody pass before three threads have come: one caller, two helpers.
    #[test]
    fn helpers_come_when_called() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            let job = count(10, Some(3));
            assert!(pool.run(&job, 3));
            assert_eq!(job.done.load(Ordering::SeqCst), 10);
        }
    }

    #[test]
    fn a_helper_that_fails_is_noticed() {
        struct Fails(std::thread::ThreadId, Barrier);
        impl Job for Fails {
            fn work(&self) {
                self.1.wait();
                assert!(std::thread::current().id() == self.0, "on purpose");
            }
        }
        let pool = Pool::new(2);
        assert!(!pool.run(&Arc::new(Fails(std::thread::current().id(), Barrier::new(2))), 2));
        let job = count(10, None);
        assert!(pool.run(&job, 2) && job.done.load(Ordering::SeqCst) == 10, "others are not held up");
    }
}
