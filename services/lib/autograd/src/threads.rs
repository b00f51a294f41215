//! Work spread over threads, the same way every time: parts are cut by the number of threads alone and results come
//! back in the order of the parts, so that the same run gives the same bits. Callers: all operators.

use std::{ops::Range, panic, thread};

/// Below this many values a thread costs more than it takes over.
const SMALL: usize = 1 << 14;

/// How many threads an operator may use.
#[derive(Clone, Copy, Debug)]
pub struct Threads(usize);

impl Threads {
    /// At least one.
    pub fn new(count: usize) -> Self {
        Self(count.max(1))
    }

    /// Cuts `out` at multiples of `unit` values into a part for each thread; `work` is told which unit a part begins
    /// with. Gives the results in the order of the parts.
    pub fn split<T: Send, R: Send>(
        &self,
        out: &mut [T],
        unit: usize,
        work: impl Fn(usize, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        let large = out.len() >= SMALL;
        self.split_by(out, unit, large, work)
    }

    /// [`Self::split`], told whether there is enough to do for threads.
    pub fn split_by<T: Send, R: Send>(
        &self,
        out: &mut [T],
        unit: usize,
        large: bool,
        work: impl Fn(usize, &mut [T]) -> R + Sync,
    ) -> Vec<R> {
        let each = (out.len() / unit.max(1)).div_ceil(self.0).max(1);
        let parts = out.chunks_mut(each * unit.max(1)).enumerate();
        self.each(parts.map(|(i, part)| (i * each, part)).collect(), large, |(first, part)| work(first, part))
    }

    /// Cuts the numbers below `count` into a range for each thread. Gives the results in the order of the ranges.
    pub fn ranges<R: Send>(&self, count: usize, large: bool, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
        let each = count.div_ceil(self.0).max(1);
        let ranges = (0..count).step_by(each).map(|first| first..(first + each).min(count)).collect();
        self.each(ranges, large, work)
    }

    /// One thread for each item but the first, which the caller's does.
    pub fn each<I: Send, R: Send>(&self, items: Vec<I>, large: bool, work: impl Fn(I) -> R + Sync) -> Vec<R> {
        if !large || items.len() < 2 {
            return items.into_iter().map(work).collect();
        }
        let work = &work;
        thread::scope(|scope| {
            let mut items = items.into_iter();
            let first = items.next();
            let others: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
            let mine = first.map(work);
            let theirs = others.into_iter().map(|o| o.join().unwrap_or_else(|cause| panic::resume_unwind(cause)));
            mine.into_iter().chain(theirs).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_in_order() {
        for threads in 1..5 {
            for units in 0..9 {
                let mut out = vec![0usize; units * 3];
                let firsts = Threads::new(threads).split_by(&mut out, 3, true, |first, part| {
                    for (i, v) in part.iter_mut().enumerate() {
                        *v += first * 3 + i + 1;
                    }
                    first
                });
                assert_eq!(out, (1..=units * 3).collect::<Vec<_>>());
                assert!(firsts.is_sorted() && firsts.len() <= threads);
                let ranges = Threads::new(threads).ranges(units, true, |r| r.collect::<Vec<_>>());
                assert_eq!(ranges.concat(), (0..units).collect::<Vec<_>>());
            }
        }
    }
}
