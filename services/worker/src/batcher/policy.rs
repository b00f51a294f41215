//! When a batch goes and how large it is: a pure decision on a clock that is handed in.

use std::time::{Duration, Instant};

use super::queue::BatchQueue;

/// Items that may wait before more are refused.
const CAPACITY: usize = 512;

/// Batches that may be with the session at a time: one runs, one waits in the session's channel.
const IN_FLIGHT: usize = 2;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run the first so many items; at least one.
    Take(usize),
    /// Nothing, until this instant or until something changes.
    Wait(Option<Instant>),
}

/// Batches of warmed sizes. While the engine is idle nothing waits; while it is busy, items wait for company until
/// the largest batch is full or the oldest has waited `max_delay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Ascending, at least one, the first is 1.
    sizes: Vec<usize>,
    max_delay: Duration,
    capacity: usize,
    in_flight: usize,
}

impl Policy {
    /// Batches of `buckets` up to `max_size`. A batch of one is always allowed.
    #[must_use]
    pub fn new(max_size: usize, max_delay: Duration, buckets: impl IntoIterator<Item = usize>) -> Self {
        let mut sizes: Vec<usize> = buckets.into_iter().filter(|b| (1..=max_size).contains(b)).collect();
        sizes.push(1);
        sizes.sort_unstable();
        sizes.dedup();
        Self { sizes, max_delay, capacity: CAPACITY, in_flight: IN_FLIGHT }
    }

    /// The same policy with another bound on waiting items; at least one.
    #[cfg(test)]
    #[must_use]
    pub fn with_capacity(mut self, items: usize) -> Self {
        self.capacity = items.max(1);
        self
    }

    /// Items that may wait.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Batches that may be with the session at a time.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The largest batch.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }

    /// Decides. `engine_idle`: no batch is with the session.
    #[must_use]
    pub fn next<T>(&self, now: Instant, queue: &BatchQueue<T>, engine_idle: bool) -> Next {
        let Some(oldest) = queue.oldest_arrival() else { return Next::Wait(None) };
        // A delay too long for the clock never ends.
        let due = oldest.checked_add(self.max_delay);
        let go = engine_idle || queue.len() >= self.max_size() || due.is_some_and(|due| due <= now);
        if go { Next::Take(self.size_for(queue.len())) } else { Next::Wait(due) }
    }

    /// How many of `waiting` items to run. A batch that fills at least three quarters of a size goes as that size,
    /// padded by the engine where it must be; one that fills less goes as the next smaller size, and the rest waits
    /// for the following batch: padding would cost more than a second run.
    fn size_for(&self, waiting: usize) -> usize {
        let above = self.sizes.iter().copied().find(|size| *size >= waiting);
        let below = self.sizes.iter().copied().take_while(|size| *size <= waiting).last().unwrap_or(1);
        match above {
            Some(size) if waiting * 4 >= size * 3 => waiting,
            _ => below,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BUCKETS: [usize; 6] = [1, 2, 4, 8, 16, 32];

    fn policy(max_size: usize, delay: Duration) -> Policy {
        Policy::new(max_size, delay, BUCKETS)
    }

    #[test]
    fn sizes_are_warmed_ones_or_nearly_fill_one() {
        let p = policy(32, Duration::ZERO);
        let cases = [(1, 1), (2, 2), (3, 3), (5, 4), (6, 6), (7, 7), (9, 8), (12, 12), (17, 16), (31, 31), (99, 32)];
        for (waiting, size) in cases {
            assert_eq!(p.size_for(waiting), size, "{waiting} waiting");
        }
        assert_eq!(policy(12, Duration::ZERO).size_for(12), 8, "no size between 8 and 16 is warmed");
        assert_eq!(policy(0, Duration::ZERO).max_size(), 1);
        assert_eq!(Policy::new(8, Duration::ZERO, []).max_size(), 1);
    }

    #[test]
    fn while_the_engine_is_busy_items_wait_for_company_but_not_long() {
        let (p, t0) = (policy(4, Duration::from_millis(5)), Instant::now());
        let at = |ms| t0 + Duration::from_millis(ms);
        let mut queue = BatchQueue::default();
        assert_eq!(p.next(t0, &queue, true), Next::Wait(None));
        // The later deadline came first: the delay counts from the item that has waited longest.
        queue.push(at(0), at(900), ());
        queue.push(at(3), at(100), ());
        assert_eq!(p.next(at(3), &queue, true), Next::Take(2));
        assert_eq!(p.next(at(3), &queue, false), Next::Wait(Some(at(5))));
        assert_eq!(p.next(at(5), &queue, false), Next::Take(2));
        queue.push(at(4), at(100), ());
        queue.push(at(4), at(100), ());
        assert_eq!(p.next(at(4), &queue, false), Next::Take(4), "full");
    }

    /// A batch: when it went, its items with their deadlines, the deadlines left behind.
    type Went = (Instant, Vec<(usize, Instant)>, Vec<Instant>);

    /// Arrivals (gap, slack) and runs (duration), all in milliseconds, played on a virtual clock.
    struct Played {
        batches: Vec<Went>,
        expired: Vec<usize>,
        /// Instants at which the engine was idle although something waited.
        idle_waits: usize,
    }

    /// One slot beside the running batch, as the dispatcher has it.
    fn play(p: &Policy, arrivals: &[(u64, u64)], runs: &[u64]) -> Played {
        let ms = Duration::from_millis;
        let mut now = Instant::now();
        let mut queue: BatchQueue<(usize, Instant)> = BatchQueue::default();
        let mut played = Played { batches: vec![], expired: vec![], idle_waits: 0 };
        let mut to_come = arrivals.iter().enumerate().scan(now, |at, (i, &(gap, slack))| {
            *at += ms(gap);
            Some((i, *at, *at + ms(slack)))
        });
        let mut coming = to_come.next();
        // When the batches with the session end, at most two.
        let mut ends: Vec<Instant> = Vec::new();
        loop {
            ends.retain(|end| *end > now);
            while let Some((i, at, deadline)) = coming.filter(|(_, at, _)| *at <= now) {
                queue.push(at, deadline, (i, deadline));
                coming = to_come.next();
            }
            played.expired.extend(queue.expire(now).into_iter().map(|(i, _)| i));
            let mut wake = coming.map(|(_, at, _)| at);
            if ends.len() < p.in_flight() {
                match p.next(now, &queue, ends.is_empty()) {
                    Next::Take(n) => {
                        assert!(n >= 1 && n <= queue.len(), "takes what is there");
                        let batch = queue.take(n).into_iter().map(|t| t.item).collect();
                        let left = queue.take(queue.len());
                        let behind = left.iter().map(|t| t.item.1).collect();
                        for t in left {
                            queue.push(t.arrived, t.item.1, t.item);
                        }
                        played.batches.push((now, batch, behind));
                        let run = ms(runs[played.batches.len() % runs.len()]);
                        let start = ends.last().copied().unwrap_or(now);
                        ends.push(start + run);
                        continue;
                    }
                    Next::Wait(until) => {
                        assert!(until.is_none_or(|until| until > now), "a wait ends in the future");
                        played.idle_waits += usize::from(ends.is_empty() && !queue.is_empty());
                        wake = [wake, until].into_iter().flatten().min();
                    }
                }
            }
            match [wake, ends.first().copied()].into_iter().flatten().min() {
                Some(next) => now = next,
                None => return played,
            }
        }
    }

    fn any_load() -> impl Strategy<Value = (usize, u64, Vec<(u64, u64)>, Vec<u64>)> {
        (
            1usize..40,
            0u64..20,
            prop::collection::vec((0u64..6, 1u64..200), 1..120),
            prop::collection::vec(1u64..30, 1..5),
        )
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_runs_twice((max, delay, arrivals, runs) in any_load()) {
            let played = play(&policy(max, Duration::from_millis(delay)), &arrivals, &runs);
            let mut seen: Vec<usize> =
                played.batches.iter().flat_map(|(_, batch, _)| batch.iter().map(|(i, _)| *i)).collect();
            seen.extend(&played.expired);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..arrivals.len()).collect::<Vec<_>>());
        }

        #[test]
        fn no_batch_is_larger_than_allowed((max, delay, arrivals, runs) in any_load()) {
            let played = play(&policy(max, Duration::from_millis(delay)), &arrivals, &runs);
            for (_, batch, _) in &played.batches {
                prop_assert!(!batch.is_empty() && batch.len() <= max);
                let padded = BUCKETS.into_iter().find(|b| *b >= batch.len()).unwrap();
                prop_assert!(padded <= max, "{} is padded to {padded}, which is not warmed", batch.len());
                prop_assert!(batch.len() * 4 >= padded * 3, "{} wastes {padded}", batch.len());
            }
        }

        #[test]
        fn the_head_never_waits_while_the_engine_is_free((max, delay, arrivals, runs) in any_load()) {
            let played = play(&policy(max, Duration::from_millis(delay)), &arrivals, &runs);
            prop_assert_eq!(played.idle_waits, 0);
        }

        #[test]
        fn no_item_is_overtaken_by_a_later_deadline((max, delay, arrivals, runs) in any_load()) {
            let played = play(&policy(max, Duration::from_millis(delay)), &arrivals, &runs);
            for (at, batch, behind) in &played.batches {
                let latest = batch.iter().map(|(_, deadline)| *deadline).max().unwrap();
                prop_assert!(behind.iter().all(|deadline| *deadline >= latest));
                prop_assert!(batch.iter().all(|(_, deadline)| deadline > at), "ran past its deadline");
            }
        }
    }

    #[test]
    fn a_distant_deadline_is_not_starved_by_a_stream_of_near_ones() {
        // The engine is just fast enough for the stream, so near deadlines always wait.
        let near = std::iter::repeat_n((5, 50), 400);
        let arrivals: Vec<_> = [(0, 40), (0, 40), (0, 1000)].into_iter().chain(near).collect();
        let played = play(&policy(1, Duration::ZERO), &arrivals, &[5]);
        let ran = played.batches.iter().any(|(_, batch, _)| batch[0].0 == 2);
        assert!(ran, "the distant one ran before its deadline");
    }
}
