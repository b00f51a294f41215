//! [`RedisEngine`]: the calls of the engine as scripts and commands.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane, Timestamp};
use link::{
    Connection, Link, LinkError, ServerReport,
    redis::{self, ScriptInvocation},
};
use tokio::sync::oneshot;

use super::{
    RedisOptions,
    keys::Keys,
    reader::{Ask, Raw, Readers},
    replies::RedisReplies,
    scripts,
};
use crate::{
    Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, QueueError, Rate, Receipt, ReplyStream, Spent,
};

/// Lanes on a server that processes share. Cheap to clone.
#[derive(Clone)]
pub struct RedisEngine {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    keys: Keys,
    options: RedisOptions,
    readers: Readers,
    /// The server's clock minus this machine's, in milliseconds.
    ahead: AtomicI64,
}

/// What [`Inner::settle`] does with an entry.
struct Settle<'a> {
    what: &'static str,
    reason: &'a str,
}

impl RedisEngine {
    /// Lanes behind `link`. Connects to nothing yet.
    #[must_use]
    pub fn new(link: Link, options: RedisOptions) -> Self {
        let keys = Keys::new(link.prefix());
        let inner = Inner { link, keys, options, readers: Readers::default(), ahead: AtomicI64::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// What the server says about itself, and whether it will do for a queue.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`].
    pub async fn check_server(&self) -> Result<ServerReport, QueueError> {
        self.inner.link.check_server().await.map_err(|e| failed(e, self.inner.options.retry_after))
    }
}

/// A link's error as the queue tells it.
pub fn failed(error: LinkError, retry_after: Duration) -> QueueError {
    match error {
        LinkError::Full => QueueError::Overloaded { retry_after },
        LinkError::Refused(why) | LinkError::Address(why) => QueueError::Refused(why),
        LinkError::Unavailable(why) => QueueError::Unavailable(why),
    }
}

impl Inner {
    fn failed(&self, error: impl Into<LinkError>) -> QueueError {
        failed(error.into(), self.options.retry_after)
    }

    async fn connection(&self) -> Result<Connection, QueueError> {
        self.link.connection().await.map_err(|e| self.failed(e))
    }

    async fn run<T: redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        let mut connection = self.connection().await?;
        call.invoke_async(&mut connection).await.map_err(|e| self.failed(e))
    }

    async fn settle(&self, lane: Lane, receipt: &Receipt, how: Settle<'_>) -> Result<bool, QueueError> {
        let (keys, options) = (&self.keys, &self.options);
        let mut call = scripts::SETTLE.key(keys.jobs(lane));
        call.key(keys.bytes(lane)).key(keys.dead(lane));
        call.arg(receipt.id.as_str()).arg(&*receipt.consumer).arg(receipt.deliveries).arg(how.what);
        call.arg(keys.body(lane)).arg(how.reason);
        call.arg(options.dead_letter_capacity).arg(millis(options.dead_letter_ttl));
        self.run(&call).await
    }

    async fn simply(&self, lane: Lane, receipt: &Receipt, what: &'static str) -> Result<bool, QueueError> {
        self.settle(lane, receipt, Settle { what, reason: "" }).await
    }

    /// Bodies of entries, in order; an entry whose body is gone gets an empty one, which no reader takes for a job.
    async fn bodies(&self, lane: Lane, names: &[&str]) -> Result<Vec<Bytes>, QueueError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(names.iter().map(|name| format!("{}{name}", self.keys.body(lane))).collect::<Vec<_>>());
        let mut connection = self.connection().await?;
        let found: Vec<Option<Vec<u8>>> = command.query_async(&mut connection).await.map_err(|e| self.failed(e))?;
        Ok(found.into_iter().map(|body| body.unwrap_or_default().into()).collect())
    }

    /// Time since a moment of the server's clock.
    fn since(&self, server_ms: &str) -> Duration {
        let now = Timestamp::now().as_millis() + self.ahead.load(Ordering::Relaxed);
        let then: i64 = server_ms.parse().unwrap_or(now);
        Duration::from_millis(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
    }

    /// Learns how far the clocks are apart.
    async fn compare_clocks(&self) -> Result<(), QueueError> {
        let mut connection = self.connection().await?;
        let asked = Timestamp::now().as_millis();
        let (seconds, micros): (i64, i64) =
            redis::cmd("TIME").query_async(&mut connection).await.map_err(|e| self.failed(e))?;
        let midway = asked + (Timestamp::now().as_millis() - asked) / 2;
        self.ahead.store(seconds * 1000 + micros / 1000 - midway, Ordering::Relaxed);
        Ok(())
    }

    /// One read, to its end: what came is given to whoever waits, or back to the lane.
    async fn read(&self, ask: Ask, answer: oneshot::Sender<Result<Vec<Entry>, QueueError>>) {
        let slot = self.readers.slot(ask.lane, &ask.consumer);
        let mut slot = slot.lock().await;
        let found = slot.read(&self.link, &self.keys, &ask, &answer).await.map_err(|e| self.failed(e));
        let entries = match found {
            Ok(found) => self.complete(&ask, found).await,
            Err(e) => Err(e),
        };
        if let Err(Ok(unwanted)) = answer.send(entries) {
            for entry in unwanted {
                if let Err(error) = self.simply(ask.lane, &entry.receipt, "forgiven").await {
                    tracing::warn!(%error, "an entry could not be given back; it is taken over when it has been idle");
                }
            }
        }
    }

    /// Entries with their bodies. Where these cannot be had the entries go back.
    async fn complete(&self, ask: &Ask, found: Vec<Raw>) -> Result<Vec<Entry>, QueueError> {
        let consumer: Arc<str> = ask.consumer.as_str().into();
        let text = |fields: &HashMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_default();
        let receipt = |(id, fields): &Raw| Receipt {
            id: EntryId::new(id.as_str()),
            consumer: Arc::clone(&consumer),
            deliveries: text(fields, "d").parse().unwrap_or(0_u32).saturating_add(1),
        };
        let names: Vec<String> = found.iter().map(|(_, fields)| text(fields, "b")).collect();
        match self.bodies(ask.lane, &names.iter().map(String::as_str).collect::<Vec<_>>()).await {
            Ok(bodies) => {
                let entry = |(raw, bytes): (&Raw, Bytes)| Entry {
                    receipt: receipt(raw),
                    bytes,
                    age: self.since(&text(&raw.1, "t")),
                };
                Ok(found.iter().zip(bodies).map(entry).collect())
            }
            Err(error) => {
                for raw in &found {
                    let _ = self.simply(ask.lane, &receipt(raw), "forgiven").await;
                }
                Err(error)
            }
        }
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
        let (outcome, word): (String, String) = inner.run(&call).await?;
        if outcome == "ok" {
            return Ok(EntryId::new(word));
        }
        let wait = Duration::from_millis(word.parse().unwrap_or(0));
        Err(QueueError::Overloaded { retry_after: wait.max(inner.options.retry_after) })
    }

    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError> {
        let (answer, entries) = oneshot::channel();
        let (inner, ask) = (Arc::clone(&self.inner), Ask { lane, consumer: consumer.to_owned(), max, wait });
        tokio::spawn(async move { inner.read(ask, answer).await });
        entries.await.unwrap_or_else(|_| Err(QueueError::Unavailable("the read was broken off".into())))
    }

    async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        min_idle: Duration,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError> {
        let inner = &*self.inner;
        if let Err(error) = inner.compare_clocks().await {
            tracing::debug!(%error, "clocks");
        }
        let mut call = scripts::RECLAIM.key(inner.keys.jobs(lane));
        call.arg(consumer).arg(millis(min_idle)).arg(max.max(1)).arg(millis(inner.options.forget_consumer));
        let found: Vec<(String, String, String, u32)> = inner.run(&call).await?;
        let names: Vec<&str> = found.iter().map(|(_, body, ..)| body.as_str()).collect();
        let bodies = inner.bodies(lane, &names).await?;
        let consumer: Arc<str> = consumer.into();
        let entry = |((id, _, t, deliveries), bytes): (&(String, String, String, u32), Bytes)| Entry {
            receipt: Receipt {
                id: EntryId::new(id.as_str()),
                consumer: Arc::clone(&consumer),
                deliveries: *deliveries,
            },
            bytes,
            age: inner.since(t),
        };
        Ok(found.iter().zip(bodies).map(entry).collect())
    }

    async fn ack(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.simply(lane, receipt, "ack").await
    }

    async fn release(&self, lane: Lane, receipt: &Receipt, attempt: Attempt) -> Result<bool, QueueError> {
        let what = match attempt {
            Attempt::Counts => "counts",
            Attempt::Forgiven => "forgiven",
        };
        self.inner.simply(lane, receipt, what).await
    }

    fn release_dropped(&self, lane: Lane, receipt: &Receipt) {
        // Without a runtime the process is ending: the entry is taken over when it has been idle.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (inner, receipt) = (Arc::clone(&self.inner), receipt.clone());
        runtime.spawn(async move {
            if let Err(error) = inner.simply(lane, &receipt, "counts").await {
                tracing::warn!(%error, "an entry could not be given back; it is taken over when it has been idle");
            }
        });
    }

    async fn requeue(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.simply(lane, receipt, "requeue").await
    }

    async fn touch(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError> {
        self.inner.simply(lane, receipt, "touch").await
    }

    async fn bury(&self, lane: Lane, receipt: &Receipt, reason: &str) -> Result<bool, QueueError> {
        self.inner.settle(lane, receipt, Settle { what: "bury", reason }).await
    }

    async fn leave(&self, lane: Lane, consumer: &str) -> Result<bool, QueueError> {
        self.inner.readers.close(lane, consumer).await;
        self.inner.run(scripts::LEAVE.key(self.inner.keys.jobs(lane)).arg(consumer)).await
    }

    async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let (inner, keys) = (&*self.inner, &self.inner.keys);
        let mut call = scripts::LETTERS.key(keys.dead(lane));
        call.arg(limit).arg(millis(inner.options.dead_letter_ttl)).arg(keys.body(lane));
        let found: Vec<(String, String, String, u32, i64)> = inner.run(&call).await?;
        let names: Vec<&str> = found.iter().map(|(_, body, ..)| body.as_str()).collect();
        let bodies = inner.bodies(lane, &names).await?;
        let letters = found.into_iter().zip(bodies).map(|((id, _, reason, deliveries, at), bytes)| DeadLetter {
            id: EntryId::new(id),
            bytes,
            reason,
            deliveries,
            died_at: Timestamp::from_millis(at),
        });
        Ok(letters.collect())
    }

    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError> {
        self.inner.letter(lane, id, "drop", &[]).await
    }

    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError> {
        self.inner.letter(lane, id, "retry", bytes.as_deref().unwrap_or_default()).await
    }

    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError> {
        let call = scripts::DEPTH.key(self.inner.keys.jobs(lane));
        let (waiting, in_flight, oldest, taken): (usize, usize, u64, u64) = self.inner.run(&call).await?;
        Ok(Depth { waiting, in_flight, oldest_age: Duration::from_millis(oldest), taken })
    }

    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError> {
        let options = &self.inner.options;
        let mut pipeline = redis::pipe();
        pipeline.cmd("XADD").arg(address).arg("MAXLEN").arg("~").arg(options.reply_capacity).arg("*");
        pipeline.arg("r").arg(&*bytes).ignore();
        pipeline.cmd("PEXPIRE").arg(address).arg(millis(options.reply_ttl)).ignore();
        let mut connection = self.inner.connection().await?;
        pipeline.query_async(&mut connection).await.map_err(|e| self.inner.failed(e))
    }

    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError> {
        self.inner.compare_clocks().await?;
        let address = self.inner.keys.replies(JobId::generate().as_str());
        Ok(Box::new(RedisReplies::open(self.inner.link.clone(), address)))
    }

    async fn cancel(&self, job: &JobId) -> Result<(), QueueError> {
        let mut command = redis::cmd("SET");
        command.arg(self.inner.keys.cancel(job.as_str())).arg("").arg("PX").arg(millis(self.inner.options.cancel_ttl));
        let mut connection = self.inner.connection().await?;
        command.query_async(&mut connection).await.map_err(|e| self.inner.failed(e))
    }

    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        command.arg(jobs.iter().map(|job| self.inner.keys.cancel(job)).collect::<Vec<_>>());
        let mut connection = self.inner.connection().await?;
        let marks: Vec<Option<String>> =
            command.query_async(&mut connection).await.map_err(|e| self.inner.failed(e))?;
        Ok(marks.iter().map(Option::is_some).collect())
    }

    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError> {
        let [ends, notes] = self.inner.keys.members();
        let mut call = scripts::MEMBERS.key(ends);
        call.key(notes).arg("join").arg(&member.name).arg(&*member.note).arg(millis(lease));
        self.inner.run(&call).await
    }

    async fn part(&self, name: &str) -> Result<(), QueueError> {
        let [ends, notes] = self.inner.keys.members();
        self.inner.run(scripts::MEMBERS.key(ends).key(notes).arg("part").arg(name)).await
    }

    async fn members(&self) -> Result<Vec<Member>, QueueError> {
        let [ends, notes] = self.inner.keys.members();
        let found: Vec<(String, Vec<u8>)> = self.inner.run(scripts::MEMBERS.key(ends).key(notes).arg("list")).await?;
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
        let mut connection = self.inner.connection().await?;
        redis::cmd("PING").query_async(&mut connection).await.map_err(|e| self.inner.failed(e))
    }
}

impl Inner {
    async fn letter(&self, lane: Lane, id: &EntryId, what: &str, bytes: &[u8]) -> Result<bool, QueueError> {
        let keys = &self.keys;
        let mut call = scripts::LETTER.key(keys.dead(lane));
        call.key(keys.jobs(lane)).key(keys.bytes(lane));
        call.arg(id.as_str()).arg(what).arg(keys.body(lane)).arg(bytes);
        self.run(&call).await
    }
}

/// Milliseconds as the server counts them; what is longer than a century is a century.
fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX).min(100 * 366 * 86_400_000)
}
