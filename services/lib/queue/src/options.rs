//! How a consumer behaves, checked where it is made: a wrong idle time repeats work that is still under way.

use std::{fmt, sync::Arc, time::Duration};

use crate::{OnRejected, QueueError, takeover::Membership};

/// How long things take, and after which silence an entry counts as abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An entry that nobody touched for this long is taken over by another consumer.
    pub min_idle: Duration,
    /// Longest time a job waits for its batch to fill.
    pub batch_delay: Duration,
    /// 99.9th percentile of a batch's time in the engine.
    pub batch_time: Duration,
    /// Longest time to send a reply.
    pub reply_time: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            min_idle: Duration::from_secs(30),
            batch_delay: Duration::from_millis(5),
            batch_time: Duration::from_secs(10),
            reply_time: Duration::from_secs(1),
        }
    }
}

/// Options of a [`crate::Consumer`].
#[derive(Clone)]
pub struct ConsumerOptions {
    pub(crate) host: String,
    pub(crate) timing: Timing,
    pub(crate) max_deliveries: u32,
    pub(crate) reclaim_every: Duration,
    pub(crate) on_rejected: Option<Arc<dyn OnRejected>>,
    pub(crate) member: Option<Membership>,
}

impl ConsumerOptions {
    /// Options with this timing; three deliveries, a look for abandoned entries every half idle time.
    ///
    /// # Errors
    /// [`QueueError::Options`] unless the idle time is longer than batch delay, batch time and reply time together:
    /// work under way would be taken for abandoned and done twice.
    pub fn new(timing: Timing) -> Result<Self, QueueError> {
        let busy = timing.batch_delay.saturating_add(timing.batch_time).saturating_add(timing.reply_time);
        if timing.min_idle <= busy {
            return Err(QueueError::Options(format!(
                "min_idle ({} ms) must be longer than batch_delay + batch_time + reply_time ({} ms)",
                timing.min_idle.as_millis(),
                busy.as_millis()
            )));
        }
        Ok(Self { timing, reclaim_every: bounded(timing.min_idle / 2), ..Self::default() })
    }

    /// Name of the machine, first half of the consumer's name.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }

    /// Deliveries without an answer after which a job becomes a dead letter; at least one.
    #[must_use]
    pub fn max_deliveries(mut self, n: u32) -> Self {
        self.max_deliveries = n.max(1);
        self
    }

    /// Time between looks for abandoned entries, 10 ms to a day; it is varied by a quarter either way.
    #[must_use]
    pub fn reclaim_every(mut self, every: Duration) -> Self {
        self.reclaim_every = bounded(every);
        self
    }

    /// The consumer works for a member of this name, which must have joined before the consumer reads and be renewed
    /// for `lease` at a time: once it is a member no more, others take over what it left without waiting for the idle
    /// time. This consumer does the same for others.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, lease: Duration) -> Self {
        self.member = Some(Membership::new(name.into(), lease));
        self
    }

    /// Time between looks for abandoned entries, before it is varied.
    pub(crate) fn look_every(&self) -> Duration {
        let every = self.member.as_ref().map_or(self.reclaim_every, |m| m.look_every().min(self.reclaim_every));
        bounded(every)
    }

    /// The least silence after which an entry may be taken over.
    pub(crate) fn least_idle(&self) -> Duration {
        let idle = self.timing.min_idle;
        self.member.as_ref().map_or(idle, |m| m.gone_idle().min(idle))
    }

    /// Who is told of jobs that are not delivered.
    #[must_use]
    pub fn on_rejected(mut self, hook: Arc<dyn OnRejected>) -> Self {
        self.on_rejected = Some(hook);
        self
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        let timing = Timing::default();
        let (reclaim_every, on_rejected, member) = (timing.min_idle / 2, None, None);
        Self { host: "local".into(), timing, max_deliveries: 3, reclaim_every, on_rejected, member }
    }
}

fn bounded(every: Duration) -> Duration {
    every.clamp(Duration::from_millis(10), Duration::from_secs(86_400))
}

impl fmt::Debug for ConsumerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerOptions")
            .field("host", &self.host)
            .field("timing", &self.timing)
            .field("max_deliveries", &self.max_deliveries)
            .field("reclaim_every", &self.reclaim_every)
            .field("member", &self.member)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_time_that_a_slow_batch_can_reach_is_refused() {
        let t = Timing::default();
        let busy = t.batch_delay + t.batch_time + t.reply_time;
        assert!(ConsumerOptions::new(Timing { min_idle: busy + Duration::from_millis(1), ..t }).is_ok());
        let e = ConsumerOptions::new(Timing { min_idle: busy, ..t }).unwrap_err();
        assert!(e.to_string().contains("min_idle (11005 ms) must be longer than"), "{e}");
    }

    #[test]
    fn the_default_passes_its_own_check() {
        assert!(ConsumerOptions::new(Timing::default()).is_ok());
    }
}
