//! What moves the bytes: the trait that every engine implements, and the words it speaks. Callers: the facade of this
//! crate ([`crate::Queue`], [`crate::Consumer`]) and the conformance suite. Nothing here knows what is in an entry.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{JobId, Lane, Timestamp};

use crate::{QueueError, Rate, Spent};

/// An engine's own name for an entry of a lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(Arc<str>);

impl EntryId {
    /// Wraps the engine's text.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The engine's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Proof that a consumer holds an entry. Once the entry was given back, reclaimed or settled, the receipt is void:
/// the engine answers `false` and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry.
    pub id: EntryId,
    /// Who took it.
    pub consumer: Arc<str>,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
}

/// An entry in a consumer's hands.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What the consumer shows to settle it.
    pub receipt: Receipt,
    /// What was appended.
    pub bytes: Bytes,
    /// Time since it was appended.
    pub age: Duration,
}

/// How long a lane may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most entries waiting.
    pub entries: usize,
    /// Refuse as well if the oldest waiting entry is older than this: in a first-in first-out lane a new one would
    /// wait about as long, which is past its deadline.
    pub wait: Duration,
}

/// Whether a delivery that ended without an answer counts towards the dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The work was begun and failed, or its worker did.
    Counts,
    /// The work was not begun, as when a worker drains.
    Forgiven,
}

/// Which entries in the hands of consumers count as abandoned.
#[derive(Clone, Copy, Debug)]
pub struct Abandoned<'a> {
    /// Silent for so long, whoever holds them.
    pub idle: Duration,
    /// Consumers known to be gone.
    pub gone: &'a [String],
    /// Silent for so long in the hands of one of those.
    pub gone_idle: Duration,
}

impl Abandoned<'_> {
    /// Entries that were silent for so long, whoever holds them.
    #[must_use]
    pub const fn silent(idle: Duration) -> Self {
        Self { idle, gone: &[], gone_idle: idle }
    }
}

/// How full a lane is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Entries nobody has taken.
    pub waiting: usize,
    /// Entries taken and not settled.
    pub in_flight: usize,
    /// Time since the oldest waiting entry was appended; zero if none waits.
    pub oldest_age: Duration,
    /// Entries taken since the lane was made, each delivery of an entry counted: two looks give a rate.
    pub taken: u64,
    /// Entries that were given up and are kept for a person to look at.
    pub dead: usize,
}

/// A live member of the installation, as it announced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique for each start.
    pub name: String,
    /// What it says of itself.
    pub note: Bytes,
}

/// An entry that was given up, kept for a person to look at.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its name among the dead letters of its lane.
    pub id: EntryId,
    /// What was appended.
    pub bytes: Bytes,
    /// Why it was given up.
    pub reason: String,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// When it was given up.
    pub died_at: Timestamp,
}

/// Moves entries of lanes and replies. At-least-once: an entry stays until it is acknowledged or buried, and nothing
/// undelivered is ever trimmed. Every method may fail with [`QueueError::Unavailable`]. Dropping a method's future
/// may leave an entry with its consumer, to be reclaimed, but never loses one.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Puts an entry at the end of a lane.
    ///
    /// # Errors
    /// [`QueueError::Overloaded`] beyond `limit` or the engine's own bound; [`QueueError::TooLarge`].
    async fn append(&self, lane: Lane, bytes: Bytes, limit: Limit) -> Result<EntryId, QueueError>;

    /// Takes up to `max` entries for `consumer`, oldest first; waits up to `wait` for the first one. Empty when none
    /// came. Cancel safe.
    async fn read(&self, lane: Lane, consumer: &str, max: usize, wait: Duration) -> Result<Vec<Entry>, QueueError>;

    /// Takes over up to `max` abandoned entries; that counts as a delivery. Silence is the time since an entry was
    /// last read, touched or taken over.
    async fn reclaim(
        &self,
        lane: Lane,
        consumer: &str,
        abandoned: Abandoned<'_>,
        max: usize,
    ) -> Result<Vec<Entry>, QueueError>;

    /// Names of the consumers that have entries of a lane in their hands.
    async fn holders(&self, lane: Lane) -> Result<Vec<String>, QueueError>;

    /// Removes an entry that is done. `false` if the receipt is void.
    async fn ack(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError>;

    /// Gives an entry back; others can read it at once. Engines may put it back in its old place or at the end of the
    /// lane. `false` if the receipt is void.
    async fn release(&self, lane: Lane, receipt: &Receipt, attempt: Attempt) -> Result<bool, QueueError>;

    /// [`Engine::release`] with [`Attempt::Counts`] from a destructor: never blocks, may be carried out a little later.
    fn release_dropped(&self, lane: Lane, receipt: &Receipt);

    /// Puts an entry back at the end of its lane as if never delivered: others get their turn first. In one step, so
    /// that no crash doubles or loses it. `false` if the receipt is void.
    async fn requeue(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError>;

    /// Heartbeat: the consumer is still at it. `false` if the receipt is void.
    async fn touch(&self, lane: Lane, receipt: &Receipt) -> Result<bool, QueueError>;

    /// Moves an entry to the lane's dead letters. `false` if the receipt is void.
    async fn bury(&self, lane: Lane, receipt: &Receipt, reason: &str) -> Result<bool, QueueError>;

    /// Removes the consumer's name, unless entries are still in its hands: those are reclaimed first. Whether it is
    /// gone.
    async fn leave(&self, lane: Lane, consumer: &str) -> Result<bool, QueueError>;

    /// Dead letters, newest first.
    async fn dead_letters(&self, lane: Lane, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// One dead letter, if it is there.
    async fn dead_letter(&self, lane: Lane, id: &EntryId) -> Result<Option<DeadLetter>, QueueError> {
        Ok(self.dead_letters(lane, usize::from(u16::MAX)).await?.into_iter().find(|letter| letter.id == *id))
    }

    /// Forgets a dead letter. Whether it was there.
    async fn drop_dead_letter(&self, lane: Lane, id: &EntryId) -> Result<bool, QueueError>;

    /// Puts a dead letter back at the end of its lane as if never delivered, with other bytes if given. Whether it was
    /// there.
    async fn retry_dead_letter(&self, lane: Lane, id: &EntryId, bytes: Option<Bytes>) -> Result<bool, QueueError>;

    /// How full the lane is.
    async fn depth(&self, lane: Lane) -> Result<Depth, QueueError>;

    /// Appends to a reply stream. Streams are bounded and expire: a reply that nobody will read is dropped silently.
    async fn reply(&self, address: &str, bytes: Bytes) -> Result<(), QueueError>;

    /// A new reply stream of this process.
    async fn open_replies(&self) -> Result<Box<dyn ReplyStream>, QueueError>;

    /// Marks a job as cancelled; the mark expires.
    async fn cancel(&self, job: &JobId) -> Result<(), QueueError>;

    /// Which of these jobs are marked as cancelled, in order. Ids as in the envelopes.
    async fn cancelled(&self, jobs: &[&str]) -> Result<Vec<bool>, QueueError>;

    /// Announces a member, or renews it: it counts as alive for `lease` from now on.
    async fn join(&self, member: &Member, lease: Duration) -> Result<(), QueueError>;

    /// Takes a member's announcement back. Unknown names are fine.
    async fn part(&self, name: &str) -> Result<(), QueueError>;

    /// Every member whose lease has not ended, by name.
    async fn members(&self) -> Result<Vec<Member>, QueueError>;

    /// Takes `cost` from the allowance of `bucket`, or nothing if there is not as much. One allowance for all
    /// processes that share the engine.
    async fn spend(&self, bucket: &str, cost: u32, rate: Rate) -> Result<Spent, QueueError>;

    /// Whether the engine can be used now. Puts nothing on any lane.
    async fn check(&self) -> Result<(), QueueError>;
}

/// The reading end of a reply stream. Dropping it ends the stream.
#[async_trait]
pub trait ReplyStream: Send {
    /// Where replies are sent.
    fn address(&self) -> &str;

    /// Waits for the next reply. Cancel safe.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]; the stream stays usable and continues once the engine is back.
    async fn next(&mut self) -> Result<Bytes, QueueError>;
}
