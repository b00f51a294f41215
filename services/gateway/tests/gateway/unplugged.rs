//! A real queue that can be made unreachable, or so slow that it might as well be.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane};
use queue::{
    Abandoned, Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, MemoryEngine, QueueError, Rate,
    Receipt, ReplyStream, Spent,
};

/// How the queue is reached.
pub mod plug {
    pub const IN: u8 = 0;
    pub const OUT: u8 = 1;
    pub const HANGING: u8 = 2;
}

pub struct Unplugged {
    pub inner: MemoryEngine,
    /// One of [`plug`].
    pub plug: Arc<AtomicU8>,
    /// Jobs marked as cancelled.
    pub cancelled: Arc<AtomicUsize>,
}

async fn reach(plug: &AtomicU8) -> Result<(), QueueError> {
    match plug.load(Ordering::SeqCst) {
        plug::IN => Ok(()),
        plug::OUT => Err(QueueError::Unavailable("unplugged".into())),
        _ => pending().await,
    }
}

#[async_trait]
impl Engine for Unplugged {
    async fn append(&self, lane: Lane, bytes: Bytes, limit: Limit) -> Result<EntryId, QueueError> {
        reach(&self.plug).await?;
        self.inner.append(lane, bytes, limit).await
    }
    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        self.inner.read(lane, consumer, max, wait).await
    }
    async fn reclaim(&self, lane: Lane, who: &str, what: Abandoned<'_>, max: usize) -> Result<Vec<Entry>, QueueError> {
        self.inner.reclaim(lane, who, what, max).await
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
        reach(&self.plug).await?;
        self.inner.dead_letters(lane, limit).await
    }
    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        reach(&self.plug).await?;
        self.inner.drop_dead_letter(lane, id).await
    }
    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError> {
        reach(&self.plug).await?;
        self.inner.retry_dead_letter(lane, id, bytes).await
    }
    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        reach(&self.plug).await?;
        self.inner.depth(lane).await
    }
    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError> {
        reach(&self.plug).await?;
        self.inner.reply(address, bytes).await
    }
    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError> {
        reach(&self.plug).await?;
        let inner = self.inner.open_replies().await?;
        Ok(Box::new(Stream { inner, plug: self.plug.clone() }))
    }
    async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        reach(&self.plug).await?;
        self.inner.cancel(job).await?;
        self.cancelled.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError> {
        self.inner.cancelled(jobs).await
    }
    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError> {
        self.inner.join(member, lease).await
    }
    async fn part(&self, name: &str) -> Result<(), QueueError> {
        self.inner.part(name).await
    }
    async fn members(&self) -> Result<Vec<Member>, QueueError> {
        reach(&self.plug).await?;
        self.inner.members().await
    }
    async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError> {
        reach(&self.plug).await?;
        self.inner.spend(bucket, cost, rate).await
    }
    async fn check(&self) -> Result<(), QueueError> {
        reach(&self.plug).await?;
        self.inner.check().await
    }
}

struct Stream {
    inner: Box<dyn ReplyStream>,
    plug: Arc<AtomicU8>,
}

#[async_trait]
impl ReplyStream for Stream {
    fn address(&self) -> &str {
        self.inner.address()
    }
    async fn next(&mut self) -> Result<Bytes, QueueError> {
        reach(&self.plug).await?;
        self.inner.next().await
    }
}
