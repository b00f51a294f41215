//! What the calls of [`super::RedisEngine`] share: scripts run, bodies fetched, entries given back.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use domain::{Lane, Timestamp};
use link::{
    Connection, Link, LinkError,
    redis::{self, ScriptInvocation},
};
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::TaskTracker;

use super::{
    RedisOptions,
    keys::Keys,
    reader::{Ask, Raw, Readers},
    scripts,
};
use crate::{DeadLetter, Entry, EntryId, QueueError, Receipt};

/// Bodies fetched by one command: pictures, so not too many at once.
const BODIES: usize = 16;

/// Pauses before further attempts to give an entry back. Failing that it is taken over when it has been idle.
const AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(9)];

/// The engine behind its handle.
pub struct Inner {
    pub link: Link,
    pub keys: Keys,
    pub options: RedisOptions,
    pub readers: Readers,
    /// Entries on their way back.
    pub returning: TaskTracker,
    /// Where destructors on threads of their own find the runtime.
    runtime: OnceLock<Handle>,
    /// The server's clock minus this machine's, in milliseconds.
    ahead: AtomicI64,
}

/// How a consumer's hold on an entry ends.
#[derive(Clone, Copy)]
pub enum Settle<'a> {
    Ack,
    Counts,
    Forgiven,
    Requeue,
    Touch,
    Bury(&'a str),
}

impl Settle<'_> {
    const fn word(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Counts => "counts",
            Self::Forgiven => "forgiven",
            Self::Requeue => "requeue",
            Self::Touch => "touch",
            Self::Bury(_) => "bury",
        }
    }
}

/// An entry as the reclaim script tells it: id, body's name, when appended, deliveries.
pub type Claimed = (String, String, String, u32);

/// A dead letter as its scripts tell it: id, body's name, reason, deliveries, when it died.
type Letter = (String, String, String, u32, i64);

impl Inner {
    pub fn new(link: Link, options: RedisOptions) -> Self {
        let keys = Keys::new(link.prefix());
        let returning = TaskTracker::new();
        // Only so that it can be waited for; it takes further tasks all the same.
        returning.close();
        let (readers, runtime, ahead) = Default::default();
        Self { link, keys, options, readers, returning, runtime, ahead }
    }

    pub fn failed(&self, error: impl Into<LinkError>) -> QueueError {
        failed(error.into(), self.options.retry_after)
    }

    pub async fn connection(&self) -> Result<Connection, QueueError> {
        self.link.connection().await.map_err(|e| self.failed(e))
    }

    /// A script whose second run would do something else: once.
    pub async fn run<T: redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        let mut connection = self.connection().await?;
        call.invoke_async(&mut connection).await.map_err(|e| self.failed(e))
    }

    /// A script that may run twice: once more where the server had closed the connection meanwhile, as after its
    /// restart.
    pub async fn run_again<T: redis::FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        let mut connection = self.connection().await?;
        match call.invoke_async(&mut connection).await {
            Err(e) if e.is_connection_dropped() => {
                drop(connection);
                self.run(call).await
            }
            outcome => outcome.map_err(|e| self.failed(e)),
        }
    }

    /// One command that may be carried out twice, as [`Self::run_again`].
    pub async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, QueueError> {
        let mut connection = self.connection().await?;
        match command.query_async(&mut connection).await {
            Err(e) if e.is_connection_dropped() => {
                drop(connection);
                let mut connection = self.connection().await?;
                command.query_async(&mut connection).await.map_err(|e| self.failed(e))
            }
            outcome => outcome.map_err(|e| self.failed(e)),
        }
    }

    pub async fn settle(&self, lane: Lane, receipt: &Receipt, how: Settle<'_>) -> Result<bool, QueueError> {
        let (keys, options) = (&self.keys, &self.options);
        let reason = if let Settle::Bury(reason) = how { reason } else { "" };
        let mut call = scripts::SETTLE.key(keys.jobs(lane));
        call.key(keys.bytes(lane)).key(keys.dead(lane));
        call.arg(receipt.id.as_str()).arg(&*receipt.consumer).arg(receipt.deliveries).arg(how.word());
        call.arg(keys.body(lane)).arg(reason);
        call.arg(options.dead_letter_capacity).arg(millis(options.dead_letter_ttl));
        self.run(&call).await
    }

    /// Bodies of entries, in order; an entry whose body is gone gets an empty one, which no reader takes for a job.
    pub async fn bodies(&self, lane: Lane, names: &[&str]) -> Result<Vec<Bytes>, QueueError> {
        let mut bodies = Vec::with_capacity(names.len());
        for names in names.chunks(BODIES) {
            let mut command = redis::cmd("MGET");
            command.arg(names.iter().map(|name| format!("{}{name}", self.keys.body(lane))).collect::<Vec<_>>());
            let found: Vec<Option<Vec<u8>>> = self.ask(&command).await?;
            bodies.extend(found.into_iter().map(|body| Bytes::from(body.unwrap_or_default())));
        }
        Ok(bodies)
    }

    /// Time since a moment of the server's clock.
    pub fn since(&self, server_ms: &str) -> Duration {
        let now = Timestamp::now().as_millis() + self.ahead.load(Ordering::Relaxed);
        let then: i64 = server_ms.parse().unwrap_or(now);
        Duration::from_millis(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
    }

    /// Learns how far the clocks are apart.
    pub async fn compare_clocks(&self) -> Result<(), QueueError> {
        let mut connection = self.connection().await?;
        let asked = Timestamp::now().as_millis();
        let (seconds, micros): (i64, i64) =
            redis::cmd("TIME").query_async(&mut connection).await.map_err(|e| self.failed(e))?;
        let midway = asked + (Timestamp::now().as_millis() - asked) / 2;
        self.ahead.store(seconds * 1000 + micros / 1000 - midway, Ordering::Relaxed);
        Ok(())
    }

    /// To be called on the way into the engine: destructors may run where no runtime is.
    pub fn remember_runtime(&self) {
        if self.runtime.get().is_none() {
            let _ = Handle::try_current().map(|handle| self.runtime.set(handle));
        }
    }

    /// Gives an entry back in the background, in several attempts.
    pub fn give_back(self: &Arc<Self>, lane: Lane, receipt: Receipt, how: Settle<'static>) {
        // Without a runtime the process is ending: the entry is taken over when it has been idle.
        let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime.get().cloned()) else { return };
        let inner = Arc::clone(self);
        self.returning.spawn_on(async move { inner.give_back_now(lane, &receipt, how).await }, &runtime);
    }

    async fn give_back_now(&self, lane: Lane, receipt: &Receipt, how: Settle<'static>) {
        let mut pauses = AGAIN_AFTER.into_iter();
        while let Err(error) = self.settle(lane, receipt, how).await {
            let Some(pause) = pauses.next() else {
                tracing::warn!(%error, entry = %receipt.id, "an entry could not be given back; others take it over");
                return;
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One read, to its end: what came is given to whoever waits, or back to the lane.
    pub async fn read(self: &Arc<Self>, ask: Ask, answer: oneshot::Sender<Result<Found, QueueError>>) {
        let slot = self.readers.slot(ask.lane, &ask.consumer);
        let mut slot = slot.lock().await;
        let found = slot.read(&self.link, &self.keys, &ask, &answer).await.map_err(|e| self.failed(e));
        let found = match found {
            Ok(raw) => self.complete(&ask, raw).await,
            Err(e) => Err(e),
        };
        // Unsent or sent and never looked at, it gives its entries back itself.
        drop(answer.send(found));
    }

    /// Entries with their bodies. Where these cannot be had the entries go back.
    async fn complete(self: &Arc<Self>, ask: &Ask, raw: Vec<Raw>) -> Result<Found, QueueError> {
        let consumer: Arc<str> = ask.consumer.as_str().into();
        let text = |fields: &HashMap<String, String>, name: &str| fields.get(name).cloned().unwrap_or_default();
        let entry = |(id, fields): &Raw| Entry {
            receipt: Receipt {
                id: EntryId::new(id.as_str()),
                consumer: Arc::clone(&consumer),
                deliveries: text(fields, "d").parse().unwrap_or(0_u32).saturating_add(1),
            },
            bytes: Bytes::new(),
            age: self.since(&text(fields, "t")),
        };
        let entries = raw.iter().map(entry).collect();
        let names = raw.iter().map(|(_, fields)| text(fields, "b")).collect();
        self.with_bodies(ask.lane, entries, names).await
    }

    /// Entries in a consumer's hands with the bodies of these names. Where these cannot be had the entries go back.
    pub async fn with_bodies(
        self: &Arc<Self>,
        lane: Lane,
        entries: Vec<Entry>,
        names: Vec<String>,
    ) -> Result<Found, QueueError> {
        let mut found = Found { inner: Arc::clone(self), lane, entries };
        let bodies = self.bodies(lane, &names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        for (entry, bytes) in found.entries.iter_mut().zip(bodies) {
            entry.bytes = bytes;
        }
        Ok(found)
    }

    /// Drops a dead letter or puts it back on its lane.
    pub async fn letter(&self, lane: Lane, id: &EntryId, what: &str, bytes: &[u8]) -> Result<bool, QueueError> {
        let keys = &self.keys;
        let mut call = scripts::LETTER.key(keys.dead(lane));
        call.key(keys.jobs(lane)).key(keys.bytes(lane));
        call.arg(id.as_str()).arg(what).arg(keys.body(lane)).arg(bytes);
        self.run(&call).await
    }

    /// Dead letters between two ids, newest first.
    pub async fn letters(&self, lane: Lane, range: [&str; 2], limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let mut call = scripts::LETTERS.key(self.keys.dead(lane));
        call.arg(limit).arg(millis(self.options.dead_letter_ttl)).arg(self.keys.body(lane)).arg(&range);
        let found: Vec<Letter> = self.run_again(&call).await?;
        let names: Vec<&str> = found.iter().map(|(_, body, ..)| body.as_str()).collect();
        let bodies = self.bodies(lane, &names).await?;
        let letters = found.into_iter().zip(bodies).map(|((id, _, reason, deliveries, at), bytes)| DeadLetter {
            id: EntryId::new(id),
            bytes,
            reason,
            deliveries,
            died_at: Timestamp::from_millis(at),
        });
        Ok(letters.collect())
    }
}

/// Entries in a consumer's hands that nobody has looked at yet: they go back unless they are taken out.
pub struct Found {
    inner: Arc<Inner>,
    lane: Lane,
    entries: Vec<Entry>,
}

impl Found {
    pub fn take(mut self) -> Vec<Entry> {
        std::mem::take(&mut self.entries)
    }
}

impl Drop for Found {
    fn drop(&mut self) {
        for entry in self.entries.drain(..) {
            self.inner.give_back(self.lane, entry.receipt, Settle::Forgiven);
        }
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

/// Milliseconds as the server counts them; what is longer than a century is a century.
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX).min(100 * 366 * 86_400_000)
}
