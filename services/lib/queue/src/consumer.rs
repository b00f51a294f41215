//! The queue as a worker sees it: [`Consumer::next`] yields jobs that are worth doing. Everything else on the lane
//! (unreadable, late, cancelled, hopeless) is dealt with here, entry by entry.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use domain::{JobId, Lane, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::v1::Envelope;

use crate::{
    Abandoned, ConsumerOptions, Delivery, Engine, Entry, QueueError, Rejection,
    delivery::Place,
    takeover::{Judge, gone},
};

/// Reads one lane under a name of its own.
pub struct Consumer {
    engine: Arc<dyn Engine>,
    lane: Lane,
    name: Arc<str>,
    options: ConsumerOptions,
    next_reclaim: Mutex<Instant>,
    judge: Mutex<Judge>,
}

impl Consumer {
    pub(crate) fn new(engine: Arc<dyn Engine>, lane: Lane, options: ConsumerOptions) -> Self {
        // The start id keeps a restarted process, and a second one on the same machine, apart from this one.
        let id = JobId::generate();
        let name = match &options.member {
            Some(member) => member.consumer(id.as_str()),
            None => format!("{}-{id}", options.host),
        };
        let next_reclaim = Mutex::new(Instant::now() + jittered(options.look_every()));
        let judge = Mutex::new(Judge::new(options.member.as_ref()));
        Self { engine, lane, name: name.into(), options, next_reclaim, judge }
    }

    /// Host or member, and start id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lane it reads.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Waits for at least one job worth doing and returns at most `max` (0 counts as 1). On the way: unreadable
    /// entries are buried, late jobs answered `deadline_exceeded`, cancelled ones dropped, jobs delivered too often
    /// buried and answered `inference_failed`, and entries of dead consumers taken over. Dropping the future gives
    /// back what it had read.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]; call again after a pause.
    pub async fn next(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let found = self.look(max.max(1)).await;
        if found.is_err() {
            self.judge.lock().out_of_touch(self.options.member.as_ref());
        }
        found
    }

    async fn look(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        loop {
            let mut entries = self.reclaim_if_due().await?;
            if entries.is_empty() {
                let wait = self.next_reclaim.lock().saturating_duration_since(Instant::now());
                entries = self.engine.read(self.lane, &self.name, max, wait).await?;
            }
            let deliveries = self.admit(entries).await;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
        }
    }

    /// Takes the consumer's name off the lane, unless others still have to take over entries of it. For drain.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn leave(self) -> Result<bool, QueueError> {
        self.engine.leave(self.lane, &self.name).await
    }

    /// One abandoned entry at a time. Each may be what its worker died of: taken together, the others would die of it too,
    /// and once more with each further delivery.
    async fn reclaim_if_due(&self) -> Result<Vec<Entry>, QueueError> {
        {
            let mut due = self.next_reclaim.lock();
            let now = Instant::now();
            if now < *due {
                return Ok(Vec::new());
            }
            *due = now + jittered(self.options.look_every());
        }
        let gone = self.gone().await?;
        let (idle, gone_idle) = (self.options.timing.min_idle, self.options.least_idle());
        let abandoned = Abandoned { idle, gone: &gone, gone_idle };
        let entries = self.engine.reclaim(self.lane, &self.name, abandoned, 1).await?;
        if !entries.is_empty() {
            // There may be more: look again as soon as this one is in hand.
            *self.next_reclaim.lock() = Instant::now();
        }
        Ok(entries)
    }

    /// Consumers of this lane that hold entries and whose worker lives no more.
    async fn gone(&self) -> Result<Vec<String>, QueueError> {
        let Some(own) = self.options.member.as_ref().filter(|_| self.judge.lock().may()) else { return Ok(Vec::new()) };
        let holders: Vec<_> = self.engine.holders(self.lane).await?.into_iter().filter(|h| **h != *self.name).collect();
        if holders.is_empty() {
            return Ok(holders);
        }
        let living = self.engine.members().await?.into_iter().map(|member| member.name).collect();
        Ok(gone(own, holders, &living).unwrap_or_else(|| {
            self.judge.lock().out_of_touch(Some(own));
            Vec::new()
        }))
    }

    /// Entries to deliveries, each on its own: a bad one never keeps the others back.
    async fn admit(&self, entries: Vec<Entry>) -> Vec<Delivery> {
        // Every place is guarded before the first await, so that a cancelled call loses nothing.
        let least_idle = self.options.least_idle();
        let guarded: Vec<_> =
            entries.into_iter().map(|e| (Place::new(&self.engine, self.lane, &e, least_idle), e)).collect();
        let mut readable = Vec::with_capacity(guarded.len());
        for (place, entry) in guarded {
            match wire::decode_envelope(entry.bytes) {
                Ok(mut envelope) => {
                    envelope.attempt = place.deliveries();
                    readable.push(Delivery::new(envelope, place, entry.age));
                }
                Err(error) => self.bury_unreadable(place, &error).await,
            }
        }
        let cancelled = self.cancelled(&readable).await;
        let mut worth_doing = Vec::with_capacity(readable.len());
        for (delivery, cancelled) in readable.into_iter().zip(cancelled) {
            match self.rejection(&delivery.envelope, cancelled) {
                None => worth_doing.push(delivery),
                Some(why) => self.reject(delivery, why).await,
            }
        }
        worth_doing
    }

    fn rejection(&self, envelope: &Envelope, cancelled: bool) -> Option<Rejection> {
        if cancelled {
            Some(Rejection::Cancelled)
        } else if envelope.attempt > self.options.max_deliveries {
            // Before the deadline: what kills workers must be found among the dead letters, however late it is.
            Some(Rejection::GaveUp)
        } else if Timestamp::now().as_millis() >= envelope.deadline_ms {
            Some(Rejection::PastDeadline)
        } else {
            None
        }
    }

    /// One mark per delivery. An engine that cannot tell means "not cancelled": doing too much is safe.
    async fn cancelled(&self, deliveries: &[Delivery]) -> Vec<bool> {
        if deliveries.is_empty() {
            return Vec::new();
        }
        let ids: Vec<&str> = deliveries.iter().map(|d| d.envelope.job_id.as_str()).collect();
        let mut marks = self.engine.cancelled(&ids).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cancelled jobs cannot be looked up");
            Vec::new()
        });
        marks.resize(deliveries.len(), false);
        marks
    }

    async fn reject(&self, delivery: Delivery, why: Rejection) {
        let envelope = &delivery.envelope;
        if let Some(hook) = &self.options.on_rejected {
            hook.rejected(envelope, why).await;
        }
        let job = envelope.job_id.clone();
        let reply = why.reply(envelope, &self.name);
        let outcome = if why == Rejection::GaveUp {
            tracing::warn!(%job, deliveries = envelope.attempt - 1, "a job was given up");
            delivery.give_up(reply.as_ref(), self.options.max_deliveries).await
        } else {
            delivery.settle_optional(reply.as_ref()).await
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, %job, why = why.as_str(), "a job could not be rejected");
        }
    }

    async fn bury_unreadable(&self, place: Place, error: &wire::WireError) {
        tracing::warn!(%error, lane = self.lane.as_str(), "an entry cannot be read and becomes a dead letter");
        if let Err(error) = place.bury(&format!("unreadable: {error}")).await {
            tracing::warn!(%error, "an unreadable entry could not be buried");
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("name", &self.name).field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// `base` varied by a quarter either way, so that consumers started together do not all look at once.
fn jittered(base: Duration) -> Duration {
    // Each RandomState has keys of its own: enough randomness to spread a few dozen consumers.
    let eighths = RandomState::new().build_hasher().finish() % 9;
    base * 3 / 4 + base * u32::try_from(eighths).unwrap_or(4) / 16
}
