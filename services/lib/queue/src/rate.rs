//! How much a caller may ask for: the generic cell rate algorithm (ITU-T I.371), which needs one number per caller.
//! Engines keep that number; the arithmetic is here, with time as an argument.

use std::time::Duration;

/// An allowance: so much a second, so much at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// What comes back each second; above 0.
    pub per_second: f64,
    /// Most that can be spent at once after a rest; at least 1.
    pub burst: u32,
}

/// What came of an attempt to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Whether there was enough; nothing is taken otherwise.
    pub allowed: bool,
    /// What could still be spent at once.
    pub remaining: u32,
    /// When the same attempt would succeed; zero if it did.
    pub retry_after: Duration,
    /// When the allowance will be whole again.
    pub reset_after: Duration,
}

impl Rate {
    /// Seconds after which one unit has come back.
    #[must_use]
    pub fn interval(&self) -> f64 {
        1.0 / self.per_second.max(f64::MIN_POSITIVE)
    }

    /// An attempt to spend `cost` at the moment `now`, with the theoretical arrival time `tat` as kept since the last
    /// attempt (both in seconds on the engine's clock; `tat` 0 for a new caller). Gives the new `tat` as well.
    #[must_use]
    pub fn spend(&self, tat: f64, now: f64, cost: u32) -> (Spent, f64) {
        let (interval, burst) = (self.interval(), f64::from(self.burst.max(1)));
        let tat = tat.max(now);
        let wanted = tat + f64::from(cost) * interval;
        // The whole allowance spent is `burst` intervals ahead of now.
        let over = wanted - now - burst * interval;
        let allowed = over <= 1e-9;
        let tat = if allowed { wanted } else { tat };
        let ahead = tat - now;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the burst")]
        let remaining = (burst - ahead / interval + 1e-6).max(0.0) as u32;
        let retry_after = if allowed { Duration::ZERO } else { seconds(over) };
        (Spent { allowed, remaining, retry_after, reset_after: seconds(ahead) }, tat)
    }
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 5 };

    #[test]
    fn a_burst_then_the_rate() {
        let mut tat = 0.0;
        for left in (0..5).rev() {
            let (spent, next) = RATE.spend(tat, 100.0, 1);
            assert!(spent.allowed);
            assert_eq!(spent.remaining, left);
            tat = next;
        }
        let (spent, same) = RATE.spend(tat, 100.0, 1);
        assert!(!spent.allowed && same == tat);
        assert!((spent.retry_after.as_secs_f64() - 0.1).abs() < 1e-6, "{spent:?}");
        assert!((spent.reset_after.as_secs_f64() - 0.5).abs() < 1e-6, "{spent:?}");
        assert!(RATE.spend(tat, 100.1001, 1).0.allowed);
    }

    #[test]
    fn what_is_refused_costs_nothing_and_what_exceeds_the_burst_never_passes() {
        let (spent, tat) = RATE.spend(0.0, 100.0, 6);
        assert!(!spent.allowed);
        assert_eq!(spent.remaining, 5);
        assert!(RATE.spend(tat, 100.0, 5).0.allowed);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(gaps in prop::collection::vec(0.0f64..0.3, 1..200)) {
            let (mut now, mut tat, mut allowed) = (1000.0, 0.0, 0.0);
            for gap in gaps {
                now += gap;
                let (spent, next) = RATE.spend(tat, now, 1);
                tat = next;
                if spent.allowed {
                    allowed += 1.0;
                }
                prop_assert!(allowed <= 5.0 + (now - 1000.0) * RATE.per_second + 1e-6);
            }
        }
    }
}
