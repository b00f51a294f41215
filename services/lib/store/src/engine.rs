//! The store trait: what an engine must give. Repositories are written once on it; engines are redb (embedded)
//! and Redis (shared). One conformance suite holds for all of them.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{CollectionId, TenantId, Timestamp};

use crate::StoreError;

/// Commits in the feed of a space that nobody follows: enough to know its revision should its head be lost.
const UNFOLLOWED: u64 = 16;

/// A partition with its own revisions and change feed. Commits are atomic within one space, never across two:
/// on a cluster a space is one hash slot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(Arc<str>);

impl Space {
    /// What belongs to no tenant: API keys, the store's own secret.
    #[must_use]
    pub fn system() -> Self {
        Self("system".into())
    }

    /// What belongs to a tenant but to no collection: the list of collections, jobs, idempotency records.
    #[must_use]
    pub fn tenant(tenant: &TenantId) -> Self {
        Self(format!("tenant/{tenant}").into())
    }

    /// Everything of one collection.
    #[must_use]
    pub fn collection(tenant: &TenantId, collection: &CollectionId) -> Self {
        Self(format!("collection/{tenant}/{collection}").into())
    }

    /// Whether this is a collection's.
    #[must_use]
    pub(crate) fn is_collection(&self) -> bool {
        self.0.starts_with("collection/")
    }

    /// A tenant's audit trail.
    #[must_use]
    pub fn audit(tenant: &TenantId) -> Self {
        Self(format!("audit/{tenant}").into())
    }

    /// How many commits stay in the change feed of this space, where `kept` is what is kept of those that are followed:
    /// galleries follow their collection, and nobody follows anything else.
    #[must_use]
    pub(crate) fn feed_kept(&self, kept: u64) -> u64 {
        if self.is_collection() { kept.max(1) } else { kept.clamp(1, UNFOLLOWED) }
    }

    /// The space of this name, as an engine wrote it down.
    #[must_use]
    pub(crate) fn named(name: &str) -> Self {
        Self(name.into())
    }

    /// The space's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts the commits of one space, from 1; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// Where a space stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Revision of the last commit.
    pub revision: Revision,
    /// Drawn for that commit; see [`Change::token`].
    pub token: u64,
}

impl Mark {
    /// Whether both are the same commit, as far as their tokens tell.
    #[must_use]
    pub fn is(self, other: Self) -> bool {
        let tokens_agree = self.token == other.token || self.token == 0 || other.token == 0;
        self.revision == other.revision && tokens_agree
    }
}

/// A stored value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes as put.
    pub value: Bytes,
    /// Revision of the commit that put them: an entity tag.
    pub version: Revision,
}

/// One change within a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a value; after `expires_at` it reads as absent and its bytes are swept.
    Put {
        /// Where.
        key: String,
        /// What.
        value: Bytes,
        /// Until when.
        expires_at: Option<Timestamp>,
    },
    /// Removes a value if there is one. Its bytes may linger in unused space until swept.
    Delete {
        /// Where.
        key: String,
    },
    /// Removes a value if there is one; the commit is acknowledged only when no byte of it, nor of any earlier value
    /// under this key, can be read from the engine's files any more, by whatever means.
    Erase {
        /// Where.
        key: String,
    },
}

/// What must hold at the moment of the commit, or nothing of it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// No value under the key.
    Absent(String),
    /// Some value under the key.
    Present(String),
    /// The value under the key was written by this revision.
    Unchanged(String, Revision),
}

/// An atomic set of changes with its preconditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// All hold, or the commit fails as a whole.
    pub preconditions: Vec<Precondition>,
    /// Applied in order.
    pub ops: Vec<Op>,
}

impl Commit {
    /// An empty commit to add to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a precondition.
    #[must_use]
    pub fn when(mut self, p: Precondition) -> Self {
        self.preconditions.push(p);
        self
    }

    /// Adds a put without expiry.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), expires_at: None });
        self
    }

    /// Adds a put that expires.
    #[must_use]
    pub fn put_until(mut self, key: impl Into<String>, value: impl Into<Bytes>, until: Timestamp) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), expires_at: Some(until) });
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Adds an erasure.
    #[must_use]
    pub fn erase(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Erase { key: key.into() });
        self
    }
}

/// Some records of a scan, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Key and record.
    pub records: Vec<(String, Record)>,
    /// Whether more follow the last one.
    pub more: bool,
}

/// Some keys of a scan, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The keys.
    pub keys: Vec<String>,
    /// Whether more follow the last one.
    pub more: bool,
}

/// One commit as the feed tells it: which keys it touched, never their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The commit's revision.
    pub revision: Revision,
    /// Drawn for this commit. Where a shared server lost its last commits and took others since, the same revision
    /// carries another token. 0 where that cannot happen to an open store.
    pub token: u64,
    /// Keys put, deleted or erased.
    pub keys: Vec<String>,
}

/// Part of the change feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The commits after the asked revision, oldest first, up to the limit.
    Since(Vec<Change>),
    /// The feed no longer reaches back that far: scan afresh.
    Trimmed,
}

/// How an acknowledged commit survives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the acknowledgement.
    Fsync,
    /// On disk within a second: a crash of the server may lose what was acknowledged last.
    EverySecond,
    /// Only in memory, for tests.
    Volatile,
}

/// Records in spaces, with atomic commits and a change feed.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The record under `key`, unless absent or expired.
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError>;

    /// The records under `keys`, in their order, where there are any. Each as [`Store::get`] gives it; not as of one
    /// moment. Cheaper than one call for each where calls go over a network.
    async fn get_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut records = Vec::with_capacity(keys.len());
        for key in keys {
            records.push(self.get(space, key).await?);
        }
        Ok(records)
    }

    /// Up to `limit` records whose keys begin with `prefix` and lie after `after`, in byte order of the keys. May stop
    /// earlier, saying that more follow, where values are large.
    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// Like [`Store::scan`], keys only: cheaper where the values are not needed.
    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        let page = self.scan(space, prefix, after, limit).await?;
        Ok(Keys { keys: page.records.into_iter().map(|(key, _)| key).collect(), more: page.more })
    }

    /// Applies all of `commit` or nothing. When this returns, the change is as durable as [`Store::durability`]
    /// says and every later read, by anyone, sees it.
    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError>;

    /// Revision of the last commit to `space`.
    async fn revision(&self, space: &Space) -> Result<Revision, StoreError>;

    /// Where `space` stands: its revision, and which history of the store that is of.
    async fn mark(&self, space: &Space) -> Result<Mark, StoreError> {
        Ok(Mark { revision: self.revision(space).await?, token: 0 })
    }

    /// Commits after `after`, oldest first, at most `limit` of them.
    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError>;

    /// Every space that a commit has gone to; some may be empty by now.
    async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        Err(StoreError::Unavailable("this engine does not list its spaces".into()))
    }

    /// What an acknowledged commit survives.
    fn durability(&self) -> Durability;

    /// Removes the values that expired by `now`, some at a time; the number removed. Finishes erasures that were broken
    /// off as well. To be called again and again by one of the processes that share the engine, or by all.
    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Whether the engine answers right now, and still keeps commits as durably as it promised when it was opened.
    async fn check(&self) -> Result<(), StoreError>;

    /// The engine's name, such as `redb`.
    fn engine(&self) -> &'static str;
}
