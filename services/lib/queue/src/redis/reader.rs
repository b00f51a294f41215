//! Reads a lane under one consumer's name, and knows what is in that consumer's hands. Used by `found.rs`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Lane;
use link::{Connection, Link, LinkError, MAX_BLOCK, redis};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::{keys::Keys, scripts};

/// A stream entry: id and its small fields.
pub type Raw = (String, HashMap<String, String>);

/// What a read answers: entries by stream, of which there is one.
type Streams = Option<Vec<(String, Vec<Raw>)>>;

/// A consumer by its lane and name.
type Name = (Lane, String);

/// One for each name that reads.
#[derive(Default)]
pub struct Readers(Mutex<HashMap<Name, Arc<Reader>>>);

/// A consumer.
#[derive(Default)]
pub struct Reader {
    /// Held while entries are on their way to it.
    pub slot: AsyncMutex<Slot>,
    hands: Mutex<Hands>,
}

/// What a consumer has.
#[derive(Default)]
struct Hands {
    /// Ids of entries that reached it and are not settled.
    held: HashSet<String>,
    /// When a call last failed that may have handed entries over: the server then counts entries as in this consumer's
    /// hands that never reached it.
    unsure: Option<Instant>,
}

/// Where a consumer reads.
#[derive(Default)]
pub struct Slot(Option<Connection>);

/// Why a slice of a read failed.
pub struct Failed {
    pub error: LinkError,
    /// The server closed a connection that was used before, as by its restart: a new one may do.
    pub stale: bool,
}

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
    /// The consumer of this name.
    pub fn of(&self, lane: Lane, consumer: &str) -> Arc<Reader> {
        Arc::clone(self.0.lock().entry((lane, consumer.to_owned())).or_default())
    }

    /// An entry has left the consumer's hands.
    pub fn let_go(&self, lane: Lane, consumer: &str, id: &str) {
        let reader = self.0.lock().get(&(lane, consumer.to_owned())).cloned();
        if let Some(reader) = reader {
            reader.hands.lock().held.remove(id);
        }
    }

    /// Waits for a read under way to end and forgets the consumer.
    pub async fn close(&self, lane: Lane, consumer: &str) {
        let reader = self.0.lock().remove(&(lane, consumer.to_owned()));
        if let Some(reader) = reader {
            reader.slot.lock().await.0 = None;
        }
    }
}

impl Reader {
    /// These entries have reached it.
    pub fn holds<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        self.hands.lock().held.extend(ids.map(str::to_owned));
    }

    /// A call that may have handed entries over has failed.
    pub fn failed(&self) {
        self.hands.lock().unsure = Some(Instant::now());
    }

    /// What it knows to be in its hands, where the server may count more.
    pub fn unsure(&self) -> Option<(Instant, Vec<String>)> {
        let hands = self.hands.lock();
        hands.unsure.map(|since| (since, hands.held.iter().cloned().collect()))
    }

    /// The server was asked, at the moment `asked`, what it counts as in its hands. A read that was waiting at the server
    /// when its connection broke goes on waiting there to its end, and may be handed entries until then.
    pub fn sure(&self, since: Instant, asked: Instant) {
        let mut hands = self.hands.lock();
        if hands.unsure == Some(since) && asked.duration_since(since) > MAX_BLOCK {
            hands.unsure = None;
        }
    }
}

impl Slot {
    /// One call, short enough for the reader to notice in between that nobody waits any more.
    pub async fn slice(&mut self, link: &Link, keys: &Keys, ask: &Ask, left: Duration) -> Result<Vec<Raw>, Failed> {
        let block = left.min(MAX_BLOCK / 2);
        let fresh = |error| Failed { error, stale: false };
        let (mut connection, kept) = match self.0.take() {
            Some(connection) => (connection, true),
            None => (link.dedicated().await.map_err(fresh)?, false),
        };
        let jobs = keys.jobs(ask.lane);
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg("workers").arg(&ask.consumer).arg("COUNT").arg(ask.max.max(1));
        if block >= Duration::from_millis(1) {
            command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(1));
        }
        command.arg("STREAMS").arg(&jobs).arg(">");
        let answer: Result<Streams, _> = command.query_async(&mut connection).await;
        match answer {
            Ok(found) => {
                self.0 = Some(connection);
                Ok(found.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).collect())
            }
            // The lane was never used, or the server has lost its data: an empty lane with a group is as good.
            Err(e) if e.code() == Some("NOGROUP") => {
                let made = scripts::GROUP.key(&jobs).invoke_async::<()>(&mut connection).await;
                made.map_err(|e| fresh(e.into()))?;
                self.0 = Some(connection);
                Ok(Vec::new())
            }
            // The lane's key went away under the call, or this server is no longer the one to write to: its connection
            // is dropped, and the next one finds out.
            Err(e) if e.code() == Some("UNBLOCKED") => Ok(Vec::new()),
            Err(e) => {
                let stale = kept && e.is_connection_dropped();
                Err(Failed { error: e.into(), stale })
            }
        }
    }
}
