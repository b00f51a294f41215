//! Reads a lane under one consumer's name. A read that nobody waits for any more gives back what it gets, so that a
//! caller may drop its future at any moment.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Lane;
use link::{Connection, Link, LinkError, MAX_BLOCK, redis};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::{keys::Keys, scripts};

/// A stream entry: id and its small fields.
pub type Raw = (String, HashMap<String, String>);

/// What a read answers: entries by stream, of which there is one.
type Streams = Option<Vec<(String, Vec<Raw>)>>;

/// A consumer by its lane and name.
type Name = (Lane, String);

/// One connection for each name that reads; held while a read is under way.
#[derive(Default)]
pub struct Readers(Mutex<HashMap<Name, Arc<AsyncMutex<Slot>>>>);

/// Where a consumer reads.
#[derive(Default)]
pub struct Slot(Option<Connection>);

/// What a read asks for.
pub struct Ask {
    /// Of which lane.
    pub lane: Lane,
    /// Under which name.
    pub consumer: String,
    /// At most so many.
    pub max: usize,
    /// Waiting so long for the first.
    pub wait: Duration,
}

impl Readers {
    /// The consumer's slot.
    pub fn slot(&self, lane: Lane, consumer: &str) -> Arc<AsyncMutex<Slot>> {
        Arc::clone(self.0.lock().entry((lane, consumer.to_owned())).or_default())
    }

    /// Waits for a read under way to end and forgets the slot.
    pub async fn close(&self, lane: Lane, consumer: &str) {
        let slot = self.0.lock().remove(&(lane, consumer.to_owned()));
        if let Some(slot) = slot {
            slot.lock().await.0 = None;
        }
    }
}

impl Slot {
    /// Reads in slices short enough to notice when `answer` is no longer waited for.
    pub async fn read<T>(
        &mut self,
        link: &Link,
        keys: &Keys,
        ask: &Ask,
        answer: &oneshot::Sender<T>,
    ) -> Result<Vec<Raw>, LinkError> {
        let end = Instant::now() + ask.wait.min(Duration::from_secs(24 * 3600));
        loop {
            if answer.is_closed() {
                return Ok(Vec::new());
            }
            let left = end.saturating_duration_since(Instant::now());
            let found = self.slice(link, keys, ask, left.min(MAX_BLOCK / 2)).await?;
            if !found.is_empty() || left.is_zero() {
                return Ok(found);
            }
        }
    }

    async fn slice(&mut self, link: &Link, keys: &Keys, ask: &Ask, block: Duration) -> Result<Vec<Raw>, LinkError> {
        let (mut connection, kept) = match self.0.take() {
            Some(connection) => (connection, true),
            None => (link.dedicated().await?, false),
        };
        let jobs = keys.jobs(ask.lane);
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg("workers").arg(&ask.consumer).arg("COUNT").arg(ask.max.max(1));
        if block >= Duration::from_millis(1) {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1));
        }
        command.arg("STREAMS").arg(&jobs).arg(">");
        let mut answer: Result<Streams, _> = command.query_async(&mut connection).await;
        if kept && answer.as_ref().is_err_and(redis::RedisError::is_connection_dropped) {
            // Closed while it was not used, as by the server's restart.
            connection = link.dedicated().await?;
            answer = command.query_async(&mut connection).await;
        }
        match answer {
            Ok(found) => {
                self.0 = Some(connection);
                Ok(found.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).collect())
            }
            // The lane was never used, or the server has lost its data: an empty lane with a group is as good.
            Err(e) if e.code() == Some("NOGROUP") => {
                scripts::GROUP.key(&jobs).invoke_async::<()>(&mut connection).await?;
                self.0 = Some(connection);
                Ok(Vec::new())
            }
            // The lane's key went away under the call, or this server is no longer the one to write to: its connection
            // is dropped, and the next one finds out.
            Err(e) if e.code() == Some("UNBLOCKED") => Ok(Vec::new()),
            Err(e) => Err(e.into()),
        }
    }
}
