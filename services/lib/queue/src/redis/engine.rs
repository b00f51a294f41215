//! [`RedisEngine`]: the calls of the engine as scripts and commands.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane};
use link::{Link, ServerReport, redis};
use tokio::sync::oneshot;

use super::{
    RedisOptions,
    inner::{Inner, Settle, millis},
    reader::Ask,
    replies::RedisReplies,
    scripts,
};
use crate::{
    Abandoned, Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, QueueError, Rate, Receipt,
    ReplyStream, Spent,
};

/// Longest time to wait for entries on their way back before a consumer leaves.
const RETURNING: Duration = Duration::from_secs(5);

/// How long the trace of a check stays.
const CHECK: Duration = Duration::from_secs(60);

/// Lanes on a server that processes share. Cheap to clone.
#[derive(Clone)]
pub struct RedisEngine {
    inner: Arc<Inner>,
}

impl RedisEngine {
    /// Lanes behind `link`. Connects to nothing yet.
    #[must_use]
    pub fn new(link: Link, options: RedisOptions) -> Self {
        Self { inner: Arc::new(Inner::new(link, options)) }
    }

    /// What the server says about itself, and whether it will do for a queue.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`], [`QueueError::Refused`].
    pub async fn check_server(&self) -> Result<ServerReport, QueueError> {
        self.inner.link.check_server().await.map_err(|e| self.inner.failed(e))
    }
}

#[async_trait]
impl Engine for RedisEngine {
    async fn append(&self, lane: Lane, bytes: Bytes, limit: Limit) -> Result<EntryId, QueueError> {
        let inner = &*self.inner;
        if bytes.len() > inner.options.lane_bytes {
            return Err(QueueError::TooLarge { bytes: bytes.len() });
        }
        let name = JobId::generate();
        let mut call = scripts::APPEND.key(inner.keys.jobs(lane));
        call.key(inner.keys.bytes(lane)).key(format!("{}{name}", inner.keys.body(lane)));
        call.arg(&*bytes).arg(name.as_str()).arg(limit.entries).arg(inner.options.lane_bytes).arg(millis(limit.wait));
        let (outcome, word): (String, String) = inner.run_again(&call).await?;
        if outcome == "ok" {
            return Ok(EntryId::new(word));
        }
        let wait = Duration::from_millis(word.parse().unwrap_or(0));
        Err(QueueError::Overloaded { retry_after: wait.max(inner.options.retry_after) })
    }

    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        let (answer, entries) = oneshot::channel();
        let (inner, ask) = (Arc::clone(&self.inner), Ask { lane, consumer: consumer.to_owned(), max, wait });
        inner.remember_runtime();
        tokio::spawn(async move { inner.read(ask, answer).await });
        let found = entries.await.map_err(|_| QueueError::Unavailable("the read was broken off".into()))??;
        Ok(found.take())
    }

    async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        abandoned: Abandoned<'_>,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        self.inner.remember_runtime();
        Ok(self.inner.reclaim(lane, consumer, abandoned, max).await?.take())
    }

    async fn holders(&self, lane: Lane) -> Result<Vec<String>, QueueError> {
        self.inner.run_again(&scripts::HOLDERS.key(self.inner.keys.jobs(lane))).await
    }

    async fn ack(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.settle(lane, receipt, Settle::Ack).await
    }

    async fn release(&self, lane: Lane, receipt: &Receipt, attempt: Attempt) -> Result<bool, QueueError> {
        let how = match attempt {
            Attempt::Counts => Settle::Counts,
            Attempt::Forgiven => Settle::Forgiven,
        };
        self.inner.settle(lane, receipt, how).await
    }

    fn release_dropped(&self, lane: Lane, receipt: &Receipt) {
        self.inner.give_back(lane, receipt.clone(), Settle::Counts);
    }

    async fn requeue(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.settle(lane, receipt, Settle::Requeue).await
    }

    async fn touch(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.settle(lane, receipt, Settle::Touch).await
    }

    async fn bury(&self, lane: Lane, receipt: &Receipt, reason: &str) -> Result<bool, QueueError> {
        self.inner.settle(lane, receipt, Settle::Bury(reason)).await
    }

    async fn leave(&self, lane: Lane, consumer: &str) -> Result<bool, QueueError> {
        self.inner.readers.close(lane, consumer).await;
        // What destructors give back counts as in this consumer's hands until it is done.
        let _ = tokio::time::timeout(RETURNING, self.inner.returning.wait()).await;
        self.inner.run_again(scripts::LEAVE.key(self.inner.keys.jobs(lane)).arg(consumer)).await
    }

    async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.inner.letters(lane, ["-", "+"], limit).await
    }

    async fn dead_letter(&self, lane: Lane, id: &EntryId) -> Result<Option<DeadLetter>, QueueError> {
        Ok(self.inner.letters(lane, [id.as_str(), id.as_str()], 1).await?.pop())
    }

    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        self.inner.letter(lane, id, "drop", &[]).await
    }

    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError> {
        self.inner.letter(lane, id, "retry", bytes.as_deref().unwrap_or_default()).await
    }

    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        let Inner { keys, options, .. } = &*self.inner;
        let mut call = scripts::DEPTH.key(keys.jobs(lane));
        call.key(keys.dead(lane)).arg(millis(options.dead_letter_ttl)).arg(keys.body(lane));
        let (waiting, in_flight, oldest, taken, dead) = self.inner.run_again(&call).await?;
        Ok(Depth { waiting, in_flight, oldest_age: Duration::from_millis(oldest), taken, dead })
    }

    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError> {
        if !self.inner.keys.is_replies(address) {
            tracing::warn!(address, "a reply to what is no reply stream is dropped");
            return Ok(());
        }
        let options = &self.inner.options;
        let mut call = scripts::REPLY.key(address);
        call.arg(&*bytes).arg(options.reply_capacity).arg(millis(options.reply_ttl));
        self.inner.run(&call).await
    }

    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError> {
        self.inner.compare_clocks().await?;
        let address = self.inner.keys.replies(JobId::generate().as_str());
        Ok(Box::new(RedisReplies::open(self.inner.link.clone(), address)))
    }

    async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        let mut command = redis::cmd("SET");
        command.arg(self.inner.keys.cancel(job.as_str())).arg("").arg("PX").arg(millis(self.inner.options.cancel_ttl));
        self.inner.ask(&command).await
    }

    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(jobs.iter().map(|job| self.inner.keys.cancel(job)).collect::<Vec<_>>());
        let marks: Vec<Option<String>> = self.inner.ask(&command).await?;
        Ok(marks.iter().map(Option::is_some).collect())
    }

    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError> {
        let [ends, notes] = self.inner.keys.members();
        let mut call = scripts::MEMBERS.key(ends);
        call.key(notes).arg("join").arg(&member.name).arg(&*member.note).arg(millis(lease));
        self.inner.run_again(&call).await
    }

    async fn part(&self, name: &str) -> Result<(), QueueError> {
        let [ends, notes] = self.inner.keys.members();
        self.inner.run_again(scripts::MEMBERS.key(ends).key(notes).arg("part").arg(name)).await
    }

    async fn members(&self) -> Result<Vec<Member>, QueueError> {
        let [ends, notes] = self.inner.keys.members();
        let found: Vec<(String, Vec<u8>)> =
            self.inner.run_again(scripts::MEMBERS.key(ends).key(notes).arg("list")).await?;
        Ok(found.into_iter().map(|(name, note)| Member { name, note: note.into() }).collect())
    }

    async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError> {
        let mut call = scripts::SPEND.key(self.inner.keys.allowance(bucket));
        call.arg(cost).arg(format!("{:.17}", rate.interval())).arg(rate.burst.max(1));
        let (allowed, remaining, retry, reset): (bool, u32, u64, u64) = self.inner.run(&call).await?;
        let (retry_after, reset_after) = (Duration::from_micros(retry), Duration::from_micros(reset));
        Ok(Spent { allowed, remaining, retry_after, reset_after })
    }

    async fn check(&self) -> Result<(), QueueError> {
        let mut command = redis::cmd("SET");
        // Written, not only asked: a replica and a server whose disk is full answer too.
        command.arg(self.inner.keys.check()).arg("").arg("PX").arg(millis(CHECK));
        match self.inner.ask(&command).await {
            // Full lanes are told to callers job by job.
            Err(QueueError::Overloaded { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}
