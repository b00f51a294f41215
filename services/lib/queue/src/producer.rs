//! The queue as a gateway sees it: submit, cancel, look at depth and dead letters, wait for replies.
//! [`Queue::consumer`] makes the worker's end.

use std::{fmt, sync::Arc, time::Duration};

use domain::{JobId, Lane, Timestamp};
use wire::v1::{Envelope, Reply};

use crate::{
    Consumer, ConsumerOptions, DeadLetter, Depth, Engine, EntryId, Limit, MemoryEngine, MemoryOptions, QueueError,
    Rate, ReplyStream, Spent,
};

/// Lanes of jobs and their replies. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    pub(crate) engine: Arc<dyn Engine>,
    lane_capacity: usize,
}

impl Queue {
    /// A queue on this engine, with 1024 waiting jobs per lane at most.
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, lane_capacity: MemoryOptions::default().lane_capacity }
    }

    /// A queue inside this process.
    #[must_use]
    pub fn memory(options: MemoryOptions) -> Self {
        Self::new(Arc::new(MemoryEngine::new(options))).lane_capacity(options.lane_capacity)
    }

    /// The same queue with another bound on waiting jobs per lane.
    #[must_use]
    pub fn lane_capacity(mut self, jobs: usize) -> Self {
        self.lane_capacity = jobs;
        self
    }

    /// Puts a job on a lane.
    ///
    /// # Errors
    /// [`QueueError::Overloaded`] if the lane is full or its oldest job has waited longer than this one may;
    /// [`QueueError::TooLarge`]; [`QueueError::Unavailable`].
    pub async fn submit(&self, lane: Lane, envelope: &Envelope) -> Result<(), QueueError> {
        let left = Timestamp::from_millis(envelope.deadline_ms).since(Timestamp::now());
        // A job past its deadline still travels: the consumer answers it, in one place for all.
        let wait = if left.is_zero() { Duration::MAX } else { left };
        let limit = Limit { entries: self.lane_capacity, wait };
        self.engine.append(lane, wire::encode_envelope(envelope), limit).await.map(drop)
    }

    /// How full a lane is.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        self.engine.depth(lane).await
    }

    /// Asks that a job not be done where that is still possible. Unknown and finished jobs are fine.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        self.engine.cancel(job).await
    }

    /// A reply stream of this process; its address goes into `reply_to` of the envelopes.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn open_replies(&self) -> Result<Replies, QueueError> {
        Ok(Replies { stream: self.engine.open_replies().await? })
    }

    /// A consumer of a lane, with a name of its own.
    #[must_use]
    pub fn consumer(&self, lane: Lane, options: ConsumerOptions) -> Consumer {
        Consumer::new(Arc::clone(&self.engine), lane, options)
    }

    /// Jobs that were given up, newest first.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.engine.dead_letters(lane, limit).await
    }

    /// One dead letter, if it is there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn dead_letter(&self, lane: Lane, id: &EntryId) -> Result<Option<DeadLetter>, QueueError> {
        self.engine.dead_letter(lane, id).await
    }

    /// Forgets a dead letter. Whether it was there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        self.engine.drop_dead_letter(lane, id).await
    }

    /// Puts a dead letter back on its lane as if never delivered, with as much time as it had at first. Nobody waits
    /// for its reply any more. Whether it was there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn retry_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        let Some(letter) = self.engine.dead_letter(lane, id).await? else { return Ok(false) };
        let renewed = wire::decode_envelope(letter.bytes.clone()).ok().map(|envelope| {
            let now = Timestamp::now();
            let had = Timestamp::from_millis(envelope.deadline_ms).since(Timestamp::from_millis(envelope.created_ms));
            wire::renewed_envelope(&letter.bytes, now.as_millis(), now.plus(had).as_millis())
        });
        self.engine.retry_dead_letter(lane, id, renewed).await
    }

    /// Takes `cost` from the allowance of `bucket`, shared by all gateways; nothing if there is not as much.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError> {
        self.engine.spend(bucket, cost, rate).await
    }

    /// Whether the queue can be used now, for readiness. Puts nothing on any lane.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn check(&self) -> Result<(), QueueError> {
        self.engine.check().await
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("lane_capacity", &self.lane_capacity).finish_non_exhaustive()
    }
}

/// Replies to this process's jobs. Dropping it ends the stream.
pub struct Replies {
    stream: Box<dyn ReplyStream>,
}

impl Replies {
    /// Where replies are sent, for `reply_to`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.stream.address()
    }

    /// Waits for the next reply; one that cannot be read is skipped. A reply may come twice. Cancel safe.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]; call again after a pause, the stream continues once the engine is back.
    pub async fn next(&mut self) -> Result<Reply, QueueError> {
        loop {
            match wire::decode_reply(self.stream.next().await?) {
                Ok(reply) => return Ok(reply),
                Err(error) => tracing::warn!(%error, "a reply cannot be read and is skipped"),
            }
        }
    }
}

impl fmt::Debug for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replies").field("address", &self.address()).finish_non_exhaustive()
    }
}
