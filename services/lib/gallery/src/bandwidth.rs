//! How fast this machine reads memory: the bound of every scan, measured in the same run by `visavis bench search`.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::kernels::Kernel;

/// Memory to be read, a part for each thread.
pub struct Memory {
    parts: Vec<Vec<u8>>,
}

impl Memory {
    /// `bytes` bytes for `threads` threads together.
    #[must_use]
    pub fn new(threads: usize, bytes: usize) -> Self {
        let part = (bytes / threads.max(1)).max(1 << 16);
        // Written, so that every page is there.
        Self { parts: (0..threads.max(1)).map(|n| vec![n as u8 | 1; part]).collect() }
    }

    /// Bytes in all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Vec::len).sum()
    }

    /// Reads everything once, as fast as this machine can; the time of the slowest thread.
    #[must_use]
    pub fn read(&self) -> Duration {
        let start = Barrier::new(self.parts.len());
        let read = |part: &Vec<u8>| {
            start.wait();
            let begun = Instant::now();
            std::hint::black_box(Kernel::best().read(std::hint::black_box(part)));
            begun.elapsed()
        };
        if let [only] = &self.parts[..] {
            return read(only);
        }
        thread::scope(|s| {
            let readers: Vec<_> = self.parts.iter().map(|part| s.spawn(|| read(part))).collect();
            readers.into_iter().filter_map(|r| r.join().ok()).max().unwrap_or_default()
        })
    }
}

/// Name of the instruction set that searches use on this machine.
#[must_use]
pub fn kernel_name() -> &'static str {
    Kernel::best().name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_every_thread() {
        for threads in [1, 3] {
            let memory = Memory::new(threads, 3 << 20);
            assert_eq!(memory.bytes(), 3 << 20);
            assert!(memory.read() > Duration::ZERO);
        }
    }
}
