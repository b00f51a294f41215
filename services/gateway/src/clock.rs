//! Whether the clock has leapt ahead under the process, by somebody's hand or a time server that was away for long. Asked
//! by what erases by the date, before it does: a date that is set right again brings nothing back.

use std::time::Duration;

use domain::Timestamp;
use tokio::time::Instant;

/// A clock that leaps ahead by more than this is not believed at once.
const LEAP: Duration = Duration::from_secs(600);

/// The clock as it was when it was last looked at.
pub(crate) struct Clock {
    at: Instant,
    says: Timestamp,
}

impl Clock {
    /// As it is now.
    pub fn now() -> Self {
        Self { at: Instant::now(), says: Timestamp::now() }
    }

    /// Whether it has leapt ahead since it was last looked at.
    pub fn leapt(&mut self) -> bool {
        let now = Self::now();
        let leapt = now.leapt_from(self);
        *self = now;
        leapt
    }

    fn leapt_from(&self, before: &Self) -> bool {
        self.says.since(before.says) > self.at.duration_since(before.at) + LEAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leaps_is_told_from_time_that_passes() {
        let (began, noon) = (Instant::now(), Timestamp::from_millis(1_000_000_000));
        let clock = |passed, shown| Clock {
            at: began + Duration::from_secs(passed),
            says: noon.plus(Duration::from_secs(shown)),
        };
        assert!(!clock(5_000, 5_100).leapt_from(&clock(0, 0)));
        assert!(clock(10, 3_600).leapt_from(&clock(0, 0)));
        assert!(!clock(10, 0).leapt_from(&clock(0, 3_600)), "set back");
    }
}
