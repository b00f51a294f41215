//! What the calls of [`super::RedisEngine`] share: scripts run, clocks compared, entries settled and given back.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use domain::{Lane, Timestamp};
use link::{
    Connection, Link, LinkError,
    redis::{self, ScriptInvocation},
};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::{RedisOptions, keys::Keys, reader::Readers, scripts};
use crate::{QueueError, Receipt};

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
        let held: bool = self.run(&call).await?;
        if !held || !matches!(how, Settle::Touch) {
            self.readers.let_go(lane, &receipt.consumer, receipt.id.as_str());
        }
        Ok(held)
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
                self.readers.let_go(lane, &receipt.consumer, receipt.id.as_str());
                return;
            };
            tokio::time::sleep(pause).await;
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
