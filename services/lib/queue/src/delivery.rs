//! A job in a worker's hands. It owns its place on the lane: settled, given back or buried by the worker, and given
//! back by the destructor if the worker drops it, panics or is cancelled.

use std::{fmt, sync::Arc, time::Duration};

use domain::Lane;
use tokio::time::Instant;
use wire::v1::{Envelope, Reply};

use crate::{Attempt, Engine, Entry, QueueError, Receipt};

/// A job to be answered exactly once: [`Delivery::settle`].
#[must_use = "a delivery that is dropped goes back to its lane"]
pub struct Delivery {
    /// The job; `attempt` says how often it has been delivered, this time included.
    pub envelope: Envelope,
    place: Place,
    queued_for: Duration,
}

impl Delivery {
    pub(crate) fn new(envelope: Envelope, place: Place, queued_for: Duration) -> Self {
        Self { envelope, place, queued_for }
    }

    /// The lane it came from.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.place.lane
    }

    /// Time it had waited when it was read.
    #[must_use]
    pub fn queued_for(&self) -> Duration {
        self.queued_for
    }

    /// Sends the reply, if anybody waits for one, then acknowledges the job.
    ///
    /// # Errors
    /// [`QueueError::Lost`] if another consumer has taken the job over: nothing is sent then.
    /// [`QueueError::Unavailable`]: the job may be delivered again.
    pub async fn settle(self, reply: &Reply) -> Result<(), QueueError> {
        self.settle_optional(Some(reply)).await
    }

    /// Acknowledges the job without a reply: nobody waits, and what it brought lies in the store.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn acknowledge(self) -> Result<(), QueueError> {
        self.settle_optional(None).await
    }

    pub(crate) async fn settle_optional(self, reply: Option<&Reply>) -> Result<(), QueueError> {
        self.place.settle(&self.envelope.reply_to, reply).await
    }

    /// Answers, then buries: a job that was delivered too often.
    pub(crate) async fn give_up(self, reply: Option<&Reply>, deliveries: u32) -> Result<(), QueueError> {
        self.place.send(&self.envelope.reply_to, reply).await?;
        self.place.bury(&format!("no answer after {deliveries} deliveries")).await
    }

    /// Gives the job back undone, for others to take at once. For work that was not begun: the delivery does not
    /// count.
    pub async fn release(self) {
        self.place.release(Attempt::Forgiven).await;
    }

    /// Puts the job back at the end of its lane as if never delivered, so that others get their turn before it goes
    /// on. For work done in slices.
    ///
    /// # Errors
    /// [`QueueError::Lost`], [`QueueError::Unavailable`].
    pub async fn requeue(self) -> Result<(), QueueError> {
        self.place.requeue().await
    }

    /// Gives the job up: it becomes a dead letter with this reason. Nobody is answered.
    ///
    /// # Errors
    /// [`QueueError::Lost`], [`QueueError::Unavailable`].
    pub async fn bury(self, reason: &str) -> Result<(), QueueError> {
        self.place.bury(reason).await
    }

    /// Heartbeat of a long job; call it several times per idle time.
    ///
    /// # Errors
    /// [`QueueError::Lost`] if another consumer has taken the job over, [`QueueError::Unavailable`].
    pub async fn touch(&self) -> Result<(), QueueError> {
        self.place.touch().await
    }

    /// Whether its caller has cancelled it meanwhile. `false` while the engine cannot tell.
    pub async fn cancelled(&self) -> bool {
        let answer = self.place.engine.cancelled(&[&self.envelope.job_id]).await;
        answer.is_ok_and(|marks| marks.first().copied().unwrap_or(false))
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No envelope: it holds pictures.
        f.debug_struct("Delivery").field("job", &self.envelope.job_id).field("receipt", &self.place.receipt).finish()
    }
}

/// An entry's place on its lane. Gives the entry back when dropped unsettled.
pub(crate) struct Place {
    engine: Arc<dyn Engine>,
    lane: Lane,
    receipt: Receipt,
    /// When the entry was read or last touched, and after which silence others may take it over at the earliest.
    seen: parking_lot::Mutex<Instant>,
    least_idle: Duration,
    armed: bool,
}

impl Place {
    pub(crate) fn new(engine: &Arc<dyn Engine>, lane: Lane, entry: &Entry, least_idle: Duration) -> Self {
        let receipt = entry.receipt.clone();
        let seen = parking_lot::Mutex::new(Instant::now());
        Self { engine: Arc::clone(engine), lane, receipt, seen, least_idle, armed: true }
    }

    pub(crate) fn deliveries(&self) -> u32 {
        self.receipt.deliveries
    }

    pub(crate) async fn settle(mut self, reply_to: &str, reply: Option<&Reply>) -> Result<(), QueueError> {
        // Only an entry that was silent for long can be lost; the common path saves the round trip.
        let silent = self.seen.lock().elapsed();
        if silent >= self.least_idle / 2 {
            self.still_mine().await?;
        }
        self.send(reply_to, reply).await?;
        let held = self.engine.ack(self.lane, &self.receipt).await?;
        self.armed = false;
        if held { Ok(()) } else { Err(QueueError::Lost) }
    }

    async fn send(&self, reply_to: &str, reply: Option<&Reply>) -> Result<(), QueueError> {
        match reply {
            Some(reply) if !reply_to.is_empty() => self.engine.reply(reply_to, wire::encode_reply(reply)).await,
            _ => Ok(()),
        }
    }

    pub(crate) async fn release(mut self, attempt: Attempt) {
        match self.engine.release(self.lane, &self.receipt, attempt).await {
            Ok(_) => self.armed = false,
            // The destructor tries once more; failing that, others take the entry over when it has been idle.
            Err(error) => tracing::warn!(%error, entry = %self.receipt.id, "a job could not be given back"),
        }
    }

    pub(crate) async fn requeue(mut self) -> Result<(), QueueError> {
        let held = self.engine.requeue(self.lane, &self.receipt).await?;
        self.armed = false;
        if held { Ok(()) } else { Err(QueueError::Lost) }
    }

    pub(crate) async fn bury(mut self, reason: &str) -> Result<(), QueueError> {
        let held = self.engine.bury(self.lane, &self.receipt, reason).await?;
        self.armed = false;
        if held { Ok(()) } else { Err(QueueError::Lost) }
    }

    async fn touch(&self) -> Result<(), QueueError> {
        if !self.engine.touch(self.lane, &self.receipt).await? {
            return Err(QueueError::Lost);
        }
        *self.seen.lock() = Instant::now();
        Ok(())
    }

    async fn still_mine(&mut self) -> Result<(), QueueError> {
        let answer = self.touch().await;
        self.armed = answer != Err(QueueError::Lost);
        answer
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.armed {
            self.engine.release_dropped(self.lane, &self.receipt);
        }
    }
}
