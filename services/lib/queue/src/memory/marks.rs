//! Marks of cancelled jobs: a set that forgets the oldest. Caller: the memory engine.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Job id → when it was last marked.
    set: HashMap<String, Instant>,
    /// In the order of marking; a job marked again is here twice, and only the later one counts.
    order: VecDeque<(Instant, String)>,
}

impl Marks {
    pub(super) fn add(&mut self, job: &str, capacity: usize, ttl: Duration, now: Instant) {
        self.set.insert(job.to_owned(), now);
        self.order.push_back((now, job.to_owned()));
        while self.order.len() > capacity {
            self.forget_first();
        }
        while self.order.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= ttl) {
            self.forget_first();
        }
    }

    pub(super) fn has(&self, job: &str, ttl: Duration, now: Instant) -> bool {
        self.set.get(job).is_some_and(|at| now.saturating_duration_since(*at) < ttl)
    }

    fn forget_first(&mut self) {
        let Some((at, job)) = self.order.pop_front() else { return };
        if self.set.get(&job) == Some(&at) {
            self.set.remove(&job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    #[test]
    fn marks_are_bounded_in_number_and_age() {
        let (mut marks, t0) = (Marks::default(), Instant::now());
        for (i, job) in ["a", "b", "c"].into_iter().enumerate() {
            marks.add(job, 2, TTL, t0 + Duration::from_secs(i as u64));
        }
        let at = |s| t0 + Duration::from_secs(s);
        assert_eq!(["a", "b", "c"].map(|j| marks.has(j, TTL, at(3))), [false, true, true]);
        assert_eq!(["b", "c"].map(|j| marks.has(j, TTL, at(61))), [false, true]);
    }

    #[test]
    fn marking_again_renews_the_mark() {
        let (mut marks, t0) = (Marks::default(), Instant::now());
        let at = |s| t0 + Duration::from_secs(s);
        marks.add("a", 9, TTL, at(0));
        marks.add("a", 9, TTL, at(40));
        marks.add("b", 9, TTL, at(70));
        assert!(marks.has("a", TTL, at(70)));
    }
}
