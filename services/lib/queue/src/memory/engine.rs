//! [`MemoryEngine`]: locks and notifications around the lanes, replies and marks beside it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    MemoryOptions,
    lane::LaneState,
    marks::Marks,
    members::{Allowances, Members},
    replies::Boxes,
};
use crate::{
    Abandoned, Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, QueueError, Rate, Receipt,
    ReplyStream, Spent,
};

/// Lanes in the memory of this process. What it holds is lost with the process.
#[derive(Debug)]
pub struct MemoryEngine {
    options: MemoryOptions,
    lanes: [LaneCell; 3],
    replies: Arc<Boxes>,
    marks: Mutex<Marks>,
    members: Mutex<Members>,
    allowances: Mutex<Allowances>,
}

#[derive(Debug, Default)]
struct LaneCell {
    state: Mutex<LaneState>,
    available: Notify,
}

impl MemoryEngine {
    /// An engine with empty lanes.
    #[must_use]
    pub fn new(options: MemoryOptions) -> Self {
        Self {
            options,
            lanes: Default::default(),
            replies: Arc::default(),
            marks: Mutex::default(),
            members: Mutex::default(),
            allowances: Mutex::new(Allowances::new(Instant::now())),
        }
    }

    const fn lane(&self, lane: Lane) -> &LaneCell {
        let [interactive, bulk, train] = &self.lanes;
        match lane {
            Lane::Interactive => interactive,
            Lane::Bulk => bulk,
            Lane::Train => train,
        }
    }
}

impl LaneCell {
    /// Waits until there is something to take.
    async fn take(&self, consumer: &Arc<str>, max: usize) -> Vec<Entry> {
        loop {
            // Registered before the look, so that an entry appended in between is not slept through.
            let mut available = std::pin::pin!(self.available.notified());
            available.as_mut().enable();
            {
                let mut state = self.state.lock();
                let entries = state.take(consumer, max, Instant::now());
                if !entries.is_empty() {
                    if state.has_waiting() {
                        self.available.notify_one();
                    }
                    return entries;
                }
            }
            available.await;
        }
    }

    fn release(&self, receipt: &Receipt, attempt: Attempt) -> bool {
        let released = self.state.lock().release(receipt, attempt);
        if released {
            self.available.notify_one();
        }
        released
    }
}

#[async_trait]
impl Engine for MemoryEngine {
    async fn append(&self, lane: Lane, bytes: Bytes, limit: Limit) -> Result<EntryId, QueueError> {
        let cell = self.lane(lane);
        let id = cell.state.lock().append(bytes, limit, &self.options, Instant::now())?;
        cell.available.notify_one();
        Ok(id)
    }

    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        let consumer = Arc::from(consumer);
        Ok(timeout(wait, self.lane(lane).take(&consumer, max.max(1))).await.unwrap_or_default())
    }

    async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        abandoned: Abandoned<'_>,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        Ok(self.lane(lane).state.lock().reclaim(&Arc::from(consumer), abandoned, max, Instant::now()))
    }

    async fn holders(&self, lane: Lane) -> Result<Vec<String>, QueueError> {
        Ok(self.lane(lane).state.lock().holders())
    }

    async fn ack(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        Ok(self.lane(lane).state.lock().ack(receipt))
    }

    async fn release(&self, lane: Lane, receipt: &Receipt, attempt: Attempt) -> Result<bool, QueueError> {
        Ok(self.lane(lane).release(receipt, attempt))
    }

    fn release_dropped(&self, lane: Lane, receipt: &Receipt) {
        self.lane(lane).release(receipt, Attempt::Counts);
    }

    async fn requeue(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        let cell = self.lane(lane);
        let requeued = cell.state.lock().requeue(receipt, Instant::now());
        if requeued {
            cell.available.notify_one();
        }
        Ok(requeued)
    }

    async fn touch(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        Ok(self.lane(lane).state.lock().touch(receipt, Instant::now()))
    }

    async fn bury(&self, lane: Lane, receipt: &Receipt, reason: &str) -> Result<bool, QueueError> {
        Ok(self.lane(lane).state.lock().bury(receipt, reason, &self.options, Instant::now()))
    }

    async fn leave(&self, lane: Lane, consumer: &str) -> Result<bool, QueueError> {
        Ok(!self.lane(lane).state.lock().holds_for(consumer))
    }

    async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(self.lane(lane).state.lock().dead_letters(limit, &self.options, Instant::now()))
    }

    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        Ok(self.lane(lane).state.lock().drop_dead_letter(id).is_some())
    }

    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError> {
        let cell = self.lane(lane);
        let found = cell.state.lock().retry_dead_letter(id, bytes, Instant::now());
        if found {
            cell.available.notify_one();
        }
        Ok(found)
    }

    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        Ok(self.lane(lane).state.lock().depth(&self.options, Instant::now()))
    }

    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError> {
        self.replies.send(address, bytes, &self.options);
        Ok(())
    }

    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError> {
        Ok(Box::new(self.replies.open(self.options.reply_ttl)))
    }

    async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        self.marks.lock().add(job.as_str(), self.options.cancel_capacity, self.options.cancel_ttl, Instant::now());
        Ok(())
    }

    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError> {
        let (marks, now) = (self.marks.lock(), Instant::now());
        Ok(jobs.iter().map(|job| marks.has(job, self.options.cancel_ttl, now)).collect())
    }

    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError> {
        self.members.lock().join(member, lease, Instant::now());
        Ok(())
    }

    async fn part(&self, name: &str) -> Result<(), QueueError> {
        self.members.lock().part(name);
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>, QueueError> {
        Ok(self.members.lock().alive(Instant::now()))
    }

    async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError> {
        Ok(self.allowances.lock().spend(bucket, cost, rate, Instant::now()))
    }

    async fn check(&self) -> Result<(), QueueError> {
        Ok(())
    }
}
