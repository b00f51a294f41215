//! How long a new job would wait, from looks at the lane: how much is ahead of it and how fast that goes. Time is an
//! argument. Caller: admission; the sampler feeds it.

use std::time::Duration;

use queue::Depth;

/// Over how many seconds the rate is averaged, newer looks weighing more. Longer than a worker takes for a batch, since
/// jobs are taken a batch at a time.
const MEMORY: f64 = 3.0;
/// So many seconds of busy lane (two of the clock, older ones weighing less) make a rate that a refusal may rest on.
/// Workers take jobs by the handful and then none for a while: less would mistake the pause for their speed.
const LEARNED: f64 = 1.5;
/// What an estimate is multiplied with before it is held against a deadline: service times vary.
const SAFETY: f64 = 1.5;
/// The same for a tenant that holds little while others hold much: what the others are kept from is for it.
const SPARE: f64 = 1.1;

/// The interactive lane as this gateway sees it.
#[derive(Debug, Default)]
pub(super) struct WaitEstimate {
    last: Option<(Duration, Depth)>,
    /// Jobs taken and seconds, both decayed, over which jobs were waiting.
    taken: f64,
    seconds: f64,
    /// Admitted here and not on the lane yet.
    coming: u64,
    /// Put on the lane by this gateway, ever, and how many of those the last look has seen.
    put: u64,
    seen: u64,
}

impl WaitEstimate {
    /// How many jobs were put on the lane: to be read before a look, which then has seen at least those.
    pub fn put(&self) -> u64 {
        self.put
    }

    /// A look at the lane at the moment `now` that has seen the first `seen` jobs of this gateway.
    pub fn look(&mut self, now: Duration, depth: Depth, seen: u64) {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_sub(then).as_secs_f64();
            // A lane that was made anew counts from 0.
            #[expect(clippy::cast_precision_loss, reason = "jobs of a fraction of a second")]
            let taken = depth.taken.saturating_sub(before.taken) as f64;
            let busy = before.waiting > 0 && depth.waiting > 0;
            // While the lane runs empty, workers take no more than comes: a lower bound of what they could.
            let faster = self.rate().is_some_and(|rate| taken > rate * seconds);
            if seconds > 0.0 && (busy || faster) {
                let kept = (-seconds / MEMORY).exp();
                self.taken = self.taken * kept + taken;
                self.seconds = self.seconds * kept + seconds;
            }
        }
        self.last = Some((now, depth));
        self.seen = self.seen.max(seen);
    }

    /// Jobs a second, once the lane has been busy for long enough. A lane that stands still is taken to move once in the time that is
    /// looked at: nothing slower can be told from a pause.
    fn rate(&self) -> Option<f64> {
        (self.seconds >= LEARNED).then(|| self.taken.max(1.0) / self.seconds)
    }

    fn unseen(&self) -> u64 {
        self.coming + self.put.saturating_sub(self.seen)
    }

    /// Jobs nobody has taken, those on their way included.
    pub fn waiting(&self) -> u64 {
        self.last.map_or(0, |(_, d)| d.waiting as u64) + self.unseen()
    }

    /// How long a job that comes now would take from here to its answer. Zero where nothing waits; none while it is not
    /// known how fast work is done.
    pub fn wait(&self) -> Option<Duration> {
        let depth = self.last.map(|(_, d)| d).unwrap_or_default();
        if self.waiting() == 0 {
            return Some(Duration::ZERO);
        }
        #[expect(clippy::cast_precision_loss, reason = "jobs of one lane")]
        let ahead = (self.waiting() + depth.in_flight as u64) as f64;
        let wait = Duration::try_from_secs_f64(ahead / self.rate()?).unwrap_or(Duration::MAX);
        // First in, first out: who comes now waits no less than who has waited longest, unless things speed up.
        Some(wait.max(depth.oldest_age))
    }

    /// Whether a job that must be answered within `within` would be, or when to come again; `spare` for one of a tenant
    /// that holds little.
    pub fn fits(&self, within: Duration, spare: bool) -> Result<(), Duration> {
        let wait = self.wait().unwrap_or_default().as_secs_f64() * if spare { SPARE } else { SAFETY };
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        if wait > within { Err(wait - within) } else { Ok(()) }
    }

    /// A job was taken on. To be followed by [`WaitEstimate::arrived`] or [`WaitEstimate::gone`].
    pub fn admitted(&mut self) {
        self.coming += 1;
    }

    /// An admitted job is on the lane.
    pub fn arrived(&mut self) {
        self.coming = self.coming.saturating_sub(1);
        self.put += 1;
    }

    /// An admitted job will not come.
    pub fn gone(&mut self) {
        self.coming = self.coming.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn depth(waiting: usize, taken: u64) -> Depth {
        Depth { waiting, taken, ..Depth::default() }
    }

    impl WaitEstimate {
        fn admit(&mut self, within: Duration) -> Result<(), Duration> {
            self.fits(within, false)?;
            self.admitted();
            Ok(())
        }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn without_a_rate_everything_is_admitted_and_with_one_what_would_be_late_is_not() {
        let mut e = WaitEstimate::default();
        e.look(ms(0), depth(500, 0), 0);
        assert_eq!((e.wait(), e.admit(ms(1))), (None, Ok(())));
        e.gone();
        e.look(ms(1000), depth(500, 1), 0);
        assert_eq!(e.wait(), None, "a second tells nothing yet");
        let mut e = WaitEstimate::default();
        e.look(ms(0), depth(500, 0), 0);
        e.look(ms(2000), depth(100, 200), 0);
        assert_eq!(e.wait(), Some(ms(1000)));
        assert_eq!(e.admit(ms(1400)), Err(ms(100)));
        assert_eq!(e.admit(ms(1600)), Ok(()));
    }

    #[test]
    fn what_is_on_its_way_counts_until_a_look_has_seen_it() {
        let mut e = WaitEstimate::default();
        e.look(ms(0), depth(1, 0), 0);
        e.look(ms(1000), depth(1, 10), 0);
        e.admit(ms(9000)).unwrap();
        e.admit(ms(9000)).unwrap();
        assert_eq!(e.waiting(), 3);
        e.gone();
        let seen = e.put();
        e.arrived();
        e.look(ms(2000), depth(1, 20), seen);
        assert_eq!(e.waiting(), 2, "it arrived after the look had begun");
        e.look(ms(3000), depth(2, 30), e.put());
        assert_eq!(e.waiting(), 2);
    }

    #[test]
    fn a_lane_that_stood_still_is_believed_to_be_quick_again_once_it_is() {
        let mut e = WaitEstimate::default();
        for s in 0..60 {
            e.look(ms(1000 * s), depth(50, 0), 0);
        }
        assert!(e.admit(ms(60_000)).is_err());
        e.look(ms(60_000), depth(0, 50), 0);
        for _ in 0..10 {
            e.admit(ms(5000)).unwrap();
        }
    }

    /// A first-in first-out lane with `servers` workers, in steps of a millisecond.
    struct Lane {
        waiting: VecDeque<(u64, u64)>,
        busy: Vec<Option<(u64, u64)>>,
        taken: u64,
        done: u64,
        late: u64,
    }

    impl Lane {
        fn step(&mut self, now: u64, mut service: impl FnMut() -> u64) {
            for slot in &mut self.busy {
                if let Some((end, deadline)) = *slot
                    && end <= now
                {
                    *slot = None;
                    self.done += 1;
                    self.late += u64::from(now > deadline);
                }
                if slot.is_none()
                    && let Some((_, deadline)) = self.waiting.pop_front()
                {
                    *slot = Some((now + service(), deadline));
                    self.taken += 1;
                }
            }
        }

        fn depth(&self, now: u64) -> Depth {
            Depth {
                waiting: self.waiting.len(),
                in_flight: self.busy.iter().flatten().count(),
                oldest_age: ms(self.waiting.front().map_or(0, |(at, _)| now - at)),
                taken: self.taken,
                dead: 0,
            }
        }
    }

    /// Arrivals at `load` times the capacity for 60 s: refused, late of done, done of what could be, the last two
    /// after 10 s, when what was let in unknowing is worked off.
    fn simulate(servers: usize, mean: u64, load: f64, deadline: u64, noise: &[f64]) -> (u64, f64, f64) {
        let mut lane = Lane { waiting: VecDeque::new(), busy: vec![None; servers], taken: 0, done: 0, late: 0 };
        let mut e = WaitEstimate::default();
        let (mut draws, mut due, mut refused) = (noise.iter().cycle(), 0.0, 0);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let capacity = servers as f64 / mean as f64;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "as above"
        )]
        let mut service = || (mean as f64 * (0.5 + draws.next().unwrap())).round().max(1.0) as u64;
        let mut steady = (0, 0);
        for now in 0..60_000 {
            if now == 10_000 {
                steady = (lane.done, lane.late);
            }
            lane.step(now, &mut service);
            due += load * capacity;
            while due >= 1.0 {
                due -= 1.0;
                if e.admit(ms(deadline)).is_ok() {
                    e.arrived();
                    lane.waiting.push_back((now, now + deadline));
                } else {
                    refused += 1;
                }
            }
            if now % 150 == 0 {
                e.look(ms(now), lane.depth(now), e.put());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let (done, late) = ((lane.done - steady.0) as f64, (lane.late - steady.1) as f64);
        (refused, late / done, done / (capacity * 50_000.0))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn at_three_times_the_load_what_is_admitted_is_in_time_and_workers_stay_busy(
            servers in 1usize..8,
            mean in 5u64..60,
            deadline in 1_500u64..8_000,
            noise in prop::collection::vec(0.0f64..1.0, 997),
        ) {
            // Noise of the drawn sequence itself is no fault of the estimate.
            let shift = 0.5 - noise.iter().sum::<f64>() / 997.0;
            let noise: Vec<f64> = noise.iter().map(|n| n + shift).collect();
            let (refused, late, throughput) = simulate(servers, mean, 3.0, deadline, &noise);
            prop_assert!(refused > 0);
            prop_assert!(late <= 0.01, "late {late}");
            prop_assert!(throughput >= 0.9, "throughput {throughput}");
        }

        #[test]
        fn a_service_with_room_refuses_nothing(
            servers in 1usize..8,
            mean in 5u64..60,
            noise in prop::collection::vec(0.0f64..1.0, 997),
        ) {
            let (refused, late, _) = simulate(servers, mean, 0.5, 1_500, &noise);
            prop_assert_eq!((refused, late), (0, 0.0));
        }
    }
}
