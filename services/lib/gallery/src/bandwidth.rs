//! How fast this machine reads memory: the bound of every scan, measured in the same run by `visavis bench`.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::kernels::Kernel;

/// Runs of which the fastest counts.
const RUNS: usize = 7;

/// Bytes per second that `threads` threads read together from `bytes` bytes of memory, each its own part; the fastest of
/// several runs.
#[must_use]
pub fn read_bandwidth(threads: usize, bytes: usize) -> f64 {
    let (threads, kernel) = (threads.max(1), Kernel::best());
    let part = (bytes / threads).max(1 << 16);
    let start = Barrier::new(threads);
    let mut fastest = Duration::MAX;
    let memory: Vec<Vec<u8>> = (0..threads).map(|n| vec![n as u8 | 1; part]).collect();
    for _ in 0..RUNS {
        let took = thread::scope(|s| {
            let readers = memory.iter().map(|part| {
                s.spawn(|| {
                    start.wait();
                    let begun = Instant::now();
                    std::hint::black_box(kernel.read(std::hint::black_box(part)));
                    begun.elapsed()
                })
            });
            let readers: Vec<_> = readers.collect();
            readers.into_iter().filter_map(|r| r.join().ok()).max()
        });
        fastest = fastest.min(took.unwrap_or(Duration::MAX));
    }
    (part * threads) as f64 / fastest.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// Name of the instruction set that searches use on this machine.
#[must_use]
pub fn kernel_name() -> &'static str {
    Kernel::best().name()
}
