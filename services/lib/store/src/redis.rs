//! The shared engine: records in a Redis or Valkey server, or a cluster of them, used by any number of processes at
//! once. Opened by the binary where gateways and workers are processes of their own.
//!
//! A space is one hash slot: a hash of records, a sorted set of their keys for scans, a stream as change feed. A commit
//! is one script, so it happens whole or not at all, and one after another. What a removed value leaves behind is in
//! the server's append-only file; see `erase.rs`.

mod client;
mod durability;
mod erase;
mod format;
mod group;
mod keys;
mod options;
mod scripts;
mod sweep;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::Timestamp;
use link::{
    Link,
    redis::{self, Value},
};

use crate::{Changes, Commit, Durability, Keys, Mark, Op, Page, Record, Revision, Space, Store, StoreError};
use client::Client;
use durability::Standing;
use erase::Rewrites;
use group::Groups;
use keys::SpaceKeys;
pub use options::{Appendfsync, EraseMode, RedisStoreOptions};
use scripts::Call;

/// Longest key, value and commit, in bytes.
const MAX_KEY: usize = 1 << 16;
const MAX_VALUE: usize = 64 << 20;
const MAX_COMMIT: usize = 256 << 20;

/// Bytes of values after which a page of a scan ends.
const PAGE_BYTES: usize = 32 << 20;

/// Keys of one reading of many.
const MANY: usize = 500;

/// A store on a server that others use as well.
#[derive(Debug)]
pub struct RedisStore {
    client: Client,
    options: RedisStoreOptions,
    standing: RwLock<Standing>,
    groups: Groups,
    rewrites: Arc<Rewrites>,
    /// Spaces that are listed on the server, so that sweeps find them.
    listed: Mutex<HashSet<Space>>,
}

impl RedisStore {
    /// Opens the store behind `link`, after a look at what the server does to keep what it is given.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server is away, is too old, does not keep commits durably (unless the
    /// options allow that), or cannot erase (unless they say [`EraseMode::Logical`]).
    pub async fn open(link: Link, options: RedisStoreOptions) -> Result<Self, StoreError> {
        let client = Client::new(link);
        let standing = durability::look(&client, &options).await?;
        standing.accept(&options)?;
        if options.erase == EraseMode::Rewrite {
            erase::permitted(&client, &standing).await?;
        }
        standing.tell();
        Ok(Self {
            groups: Groups::new(client.clone(), options.wait_timeout),
            rewrites: Arc::new(Rewrites::new(client.clone(), options.erase_timeout)),
            standing: RwLock::new(standing),
            listed: Mutex::default(),
            client,
            options,
        })
    }

    /// What the server is and how it keeps commits, such as `valkey 9.1.2, appendfsync always`. As of the opening or
    /// the last [`Store::check`].
    #[must_use]
    pub fn durability_detail(&self) -> String {
        self.standing().detail
    }

    fn standing(&self) -> Standing {
        self.standing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keys_of(&self, space: &Space) -> SpaceKeys {
        SpaceKeys::new(self.client.link().prefix(), space)
    }

    fn now(&self) -> String {
        (self.options.clock)().as_millis().to_string()
    }

    /// Lists the space for sweeps, once per process.
    async fn list(&self, space: &Space) -> Result<(), StoreError> {
        if self.listed().contains(space) {
            return Ok(());
        }
        let mut add = redis::cmd("SADD");
        add.arg(keys::spaces(self.client.link().prefix())).arg(space.as_str());
        self.client.read(&add).await?;
        self.listed().insert(space.clone());
        Ok(())
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, HashSet<Space>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn range(&self, space: &Space, range: Range<'_>, values: bool) -> Result<Value, StoreError> {
        let keys = self.keys_of(space);
        let (from, to) = keys::lex_range(range.prefix, range.after);
        let mut call = Call::new(&scripts::SCAN, [keys.values, keys.order, keys.expiry]);
        call.text(self.now()).text(range.limit).bytes(from).bytes(to).text(PAGE_BYTES).text(u8::from(values));
        self.client.read_script(&call).await
    }

    /// Whether a commit may go to the server at all.
    fn fits(commit: &Commit) -> Result<(), StoreError> {
        let (mut total, mut largest, mut longest) = (0, 0, 0);
        for op in &commit.ops {
            let (Op::Put { key, .. } | Op::Delete { key } | Op::Erase { key }) = op;
            let value = if let Op::Put { value, .. } = op { value.len() } else { 0 };
            total += key.len() + value;
            largest = largest.max(value);
            longest = longest.max(key.len());
        }
        if total > MAX_COMMIT || largest > MAX_VALUE || longest > MAX_KEY {
            return Err(StoreError::Unavailable("a key, value or commit is larger than the store takes".into()));
        }
        Ok(())
    }

    fn call_for(&self, space: &Space, commit: &Commit) -> Result<Call, StoreError> {
        let rewrite = self.options.erase == EraseMode::Rewrite;
        let mut call = Call::new(&scripts::COMMIT, self.keys_of(space).all());
        call.text(self.now()).text(space.feed_kept(self.options.feed_kept)).text(format::fresh_token()?);
        call.text(u8::from(rewrite)).text(commit.preconditions.len());
        commit.preconditions.iter().for_each(|p| call.precondition(p));
        commit.ops.iter().for_each(|op| call.op(op));
        Ok(call)
    }

    /// Sends a commit's script; when this returns, its effects are as durable as they get here.
    async fn send(&self, call: Call) -> Result<Value, StoreError> {
        if self.standing().by_waiting() {
            self.groups.submit(call).await
        } else {
            self.client.write_script(&call).await
        }
    }
}

struct Range<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    limit: usize,
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.keys_of(space).values).arg(key);
        format::record(key, self.client.read(&get).await?, (self.options.clock)())
    }

    async fn get_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        let values = self.keys_of(space).values;
        let mut records = Vec::with_capacity(keys.len());
        for keys in keys.chunks(MANY) {
            let mut get = redis::cmd("HMGET");
            get.arg(&values).arg(keys);
            let found = format::array(self.client.read(&get).await?)?;
            let now = (self.options.clock)();
            for (key, value) in keys.iter().zip(found) {
                records.push(format::record(key, value, now)?);
            }
        }
        Ok(records)
    }

    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        format::page(self.range(space, Range { prefix, after, limit }, true).await?)
    }

    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        format::keys(self.range(space, Range { prefix, after, limit }, false).await?)
    }

    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        Self::fits(&commit)?;
        self.list(space).await?;
        let erases = commit.ops.iter().any(|op| matches!(op, Op::Erase { .. }));
        let revision = format::committed(self.send(self.call_for(space, &commit)?).await?)?;
        if revision == Revision(1) {
            // New to the server, or the server is: it may have lost the list along with the rest.
            self.listed().remove(space);
            self.list(space).await?;
        }
        if erases && self.options.erase == EraseMode::Rewrite {
            self.rewrites.next().await?;
            self.finished(space, revision.0).await;
        }
        Ok(revision)
    }

    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        Ok(self.mark(space).await?.revision)
    }

    async fn mark(&self, space: &Space) -> Result<Mark, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys_of(space).head);
        match self.client.read(&get).await? {
            Value::Nil => Ok(Mark::default()),
            head => format::mark(&format::bytes(head)?),
        }
    }

    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let keys = self.keys_of(space);
        let mut call = Call::new(&scripts::CHANGES, [keys.feed, keys.head]);
        call.text(after.0.saturating_add(1)).text(limit.max(1));
        format::changes(self.client.read_script(&call).await?, after, limit)
    }

    async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        self.known_spaces().await
    }

    fn durability(&self) -> Durability {
        self.standing().durability
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.sweep_all(now).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        let standing = durability::look(&self.client, &self.options).await?;
        let accepted = standing.accept(&self.options).and_then(|()| standing.writes());
        let mut known = self.standing.write().unwrap_or_else(PoisonError::into_inner);
        if known.detail != standing.detail {
            standing.tell();
        }
        *known = standing;
        accepted
    }

    fn engine(&self) -> &'static str {
        "redis"
    }
}

/// A number or word as scripts take it.
fn text(value: impl ToString) -> Bytes {
    Bytes::from(value.to_string())
}
