//! An engine that seals what another moves: jobs with their pictures, replies, what members say. So neither the server's
//! memory dump nor its append-only file shows them. The binary puts it over the engine on Redis; inside one process
//! there is nothing to seal against.
//!
//! Jobs, replies and notes are each bound to their lane, stream or name. What does not open is passed on as it lies
//! there: no reader takes it for a job, it is buried as unreadable, and nothing is lost.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane};
use seal::{Keyring, PurposeKeys, SealError, aside, context};

use crate::{
    Abandoned, Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, QueueError, Rate, Receipt,
    ReplyStream, Spent,
};

/// An engine with everything on it sealed.
pub struct SealedEngine {
    inner: Arc<dyn Engine>,
    keys: Arc<PurposeKeys>,
}

impl SealedEngine {
    /// Over `inner`, with keys derived from these.
    ///
    /// # Errors
    /// None in practice; see [`Keyring::purpose`].
    pub fn new(inner: Arc<dyn Engine>, keyring: &Keyring) -> Result<Self, SealError> {
        Ok(Self { inner, keys: Arc::new(keyring.purpose("queue")?) })
    }

    /// Nothing is awaited here: a read that is dropped must not leave entries behind that it has taken.
    fn open_entries(&self, lane: Lane, mut entries: Vec<Entry>) -> Vec<Entry> {
        for entry in &mut entries {
            entry.bytes = open(&self.keys, &job(lane), std::mem::take(&mut entry.bytes));
        }
        entries
    }

    fn open_letters(&self, lane: Lane, mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
        for letter in &mut letters {
            letter.bytes = open(&self.keys, &job(lane), std::mem::take(&mut letter.bytes));
        }
        letters
    }

    fn seal(&self, place: &[u8], bytes: &Bytes) -> Result<Bytes, QueueError> {
        let sealed = aside(bytes.len(), || self.keys.seal(place, bytes));
        sealed.map(Bytes::from).map_err(|e| QueueError::Unavailable(e.to_string()))
    }
}

fn job(lane: Lane) -> Vec<u8> {
    context(&["job", lane.as_str()])
}

fn reply(address: &str) -> Vec<u8> {
    context(&["reply", address])
}

fn note(name: &str) -> Vec<u8> {
    context(&["note", name])
}

/// What was sealed, or where it does not open the same bytes.
fn open(keys: &PurposeKeys, place: &[u8], bytes: Bytes) -> Bytes {
    aside(bytes.len(), || keys.open(place, &bytes)).map(Bytes::from).unwrap_or_else(|error| {
        tracing::warn!(%error, "something on the queue does not open");
        bytes
    })
}

#[async_trait]
impl Engine for SealedEngine {
    async fn append(&self, lane: Lane, bytes: Bytes, limit: Limit) -> Result<EntryId, QueueError> {
        self.inner.append(lane, self.seal(&job(lane), &bytes)?, limit).await
    }

    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        Ok(self.open_entries(lane, self.inner.read(lane, consumer, max, wait).await?))
    }

    async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        abandoned: Abandoned<'_>,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        Ok(self.open_entries(lane, self.inner.reclaim(lane, consumer, abandoned, max).await?))
    }

    async fn holders(&self, lane: Lane) -> Result<Vec<String>, QueueError> {
        self.inner.holders(lane).await
    }

    async fn ack(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.ack(lane, receipt).await
    }

    async fn release(&self, lane: Lane, receipt: &Receipt, attempt: Attempt) -> Result<bool, QueueError> {
        self.inner.release(lane, receipt, attempt).await
    }

    fn release_dropped(&self, lane: Lane, receipt: &Receipt) {
        self.inner.release_dropped(lane, receipt);
    }

    async fn requeue(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.requeue(lane, receipt).await
    }

    async fn touch(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.touch(lane, receipt).await
    }

    async fn bury(&self, lane: Lane, receipt: &Receipt, reason: &str) -> Result<bool, QueueError> {
        self.inner.bury(lane, receipt, reason).await
    }

    async fn leave(&self, lane: Lane, consumer: &str) -> Result<bool, QueueError> {
        self.inner.leave(lane, consumer).await
    }

    async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.open_letters(lane, self.inner.dead_letters(lane, limit).await?))
    }

    async fn dead_letter(&self, lane: Lane, id: &EntryId) -> Result<Option<DeadLetter>, QueueError> {
        let found = self.inner.dead_letter(lane, id).await?.into_iter().collect();
        Ok(self.open_letters(lane, found).pop())
    }

    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        self.inner.drop_dead_letter(lane, id).await
    }

    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError> {
        let sealed = bytes.map(|bytes| self.seal(&job(lane), &bytes)).transpose()?;
        self.inner.retry_dead_letter(lane, id, sealed).await
    }

    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        self.inner.depth(lane).await
    }

    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError> {
        self.inner.reply(address, self.seal(&reply(address), &bytes)?).await
    }

    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError> {
        Ok(Box::new(SealedReplies { inner: self.inner.open_replies().await?, keys: Arc::clone(&self.keys) }))
    }

    async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        self.inner.cancel(job).await
    }

    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError> {
        self.inner.cancelled(jobs).await
    }

    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError> {
        let sealed = self.seal(&note(&member.name), &member.note)?;
        self.inner.join(&Member { name: member.name.clone(), note: sealed }, lease).await
    }

    async fn part(&self, name: &str) -> Result<(), QueueError> {
        self.inner.part(name).await
    }

    async fn members(&self) -> Result<Vec<Member>, QueueError> {
        let mut members = self.inner.members().await?;
        for member in &mut members {
            member.note = open(&self.keys, &note(&member.name), std::mem::take(&mut member.note));
        }
        Ok(members)
    }

    async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError> {
        self.inner.spend(bucket, cost, rate).await
    }

    async fn check(&self) -> Result<(), QueueError> {
        self.inner.check().await
    }
}

/// The reading end of a stream of sealed replies.
struct SealedReplies {
    inner: Box<dyn ReplyStream>,
    keys: Arc<PurposeKeys>,
}

#[async_trait]
impl ReplyStream for SealedReplies {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn next(&mut self) -> Result<Bytes, QueueError> {
        let sealed = self.inner.next().await?;
        Ok(open(&self.keys, &reply(self.inner.address()), sealed))
    }
}
