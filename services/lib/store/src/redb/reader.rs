//! Reading: each call sees one state of the redb file. Keys lie outside of it, so a value that was removed
//! between reading the one and the other no longer opens; it is then looked up afresh.

use std::{
    collections::HashMap,
    ops::Bound,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use ::redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, WriteTransaction};
use bytes::Bytes;
use domain::Timestamp;

use super::{
    format::{self, FEED, Head, RECORDS, record_key, split_record_key, unavailable},
    keyfile::KeyFile,
};
use crate::{Change, Changes, Keys, Page, Record, Revision, Space, StoreError};

type Records = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Numbers and revisions of all spaces, kept in memory because every search asks for a revision.
#[derive(Debug)]
pub struct Spaces(RwLock<HashMap<Space, (u32, Revision)>>);

impl Spaces {
    pub fn new(spaces: HashMap<Space, (u32, Revision)>) -> Self {
        Self(RwLock::new(spaces))
    }

    pub fn get(&self, space: &Space) -> Option<(u32, Revision)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(space).copied()
    }

    /// All of them; the map may be behind a transaction under way, never ahead of what is durable.
    pub fn all(&self) -> HashMap<Space, (u32, Revision)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read from a file that was opened anew.
    pub fn replace(&self, with: Self) {
        let with = with.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = with;
    }

    pub fn publish(&self, space: Space, number: u32, revision: Revision) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(space, (number, revision));
    }
}

/// What a scan is asked for.
pub struct Range {
    pub space: Space,
    pub prefix: String,
    pub after: Option<String>,
    pub limit: usize,
}

#[derive(Debug)]
pub struct Reader {
    /// None while it is opened anew.
    db: RwLock<Option<Database>>,
    pub keys: KeyFile,
    pub spaces: Spaces,
    pub clock: fn() -> Timestamp,
    failed: AtomicBool,
}

impl Reader {
    pub fn new(db: Database, keys: KeyFile, spaces: Spaces, clock: fn() -> Timestamp) -> Self {
        Self { db: RwLock::new(Some(db)), keys, spaces, clock, failed: AtomicBool::new(false) }
    }

    pub fn revision(&self, space: &Space) -> Revision {
        self.spaces.get(space).map_or(Revision(0), |(_, revision)| revision)
    }

    /// Whether the writer still takes commits and the file can be read.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.has_failed() {
            return Err(StoreError::Unavailable("writing failed; the store must be opened anew".into()));
        }
        self.begin_read().map(drop)
    }

    /// Whether a commit failed since the file was opened.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Until the file has been opened anew [`Reader::check`] fails.
    pub fn set_failed(&self, failed: bool) {
        self.failed.store(failed, Ordering::Release);
    }

    /// One state of the file.
    pub fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.as_ref().ok_or_else(closed)?.begin_read().map_err(unavailable)
    }

    /// A transaction; only the writer begins one.
    pub fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        db.as_ref().ok_or_else(closed)?.begin_write().map_err(unavailable)
    }

    /// Closes the file and opens it again. Who reads meanwhile waits, or is told that the store is away.
    pub fn reopen(&self, open: impl FnOnce() -> Result<Database, StoreError>) -> Result<(), StoreError> {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        // First, for its lock keeps others out, and this process too.
        drop(db.take());
        *db = Some(open()?);
        Ok(())
    }

    /// The file as it is open.
    pub fn with_db<T>(&self, f: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        f(db.as_ref().ok_or_else(closed)?)
    }

    pub fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        match self.spaces.get(space) {
            Some((number, _)) => self.get_at(&record_key(number, key)),
            None => Ok(None),
        }
    }

    fn get_at(&self, at: &[u8]) -> Result<Option<Record>, StoreError> {
        let mut unopened = None;
        loop {
            let records = self.records()?;
            let Some(stored) = records.get(at).map_err(unavailable)? else { return Ok(None) };
            let head = head(at, stored.value())?;
            if head.is_expired((self.clock)()) {
                return Ok(None);
            }
            if let Some(record) = self.open(at, head, stored.value())? {
                return Ok(Some(record));
            }
            // Keys are destroyed only after their values are gone from the file: still there means damage.
            if unopened.replace(head) == Some(head) {
                return Err(damaged(at, "its seal is broken"));
            }
        }
    }

    pub fn scan(&self, range: &Range) -> Result<Page, StoreError> {
        let mut page = Page::default();
        page.more = self.walk(range, |at, key, head, stored| {
            let record = match self.open(at, head, stored)? {
                Some(record) => Some(record),
                None => self.get_at(at)?,
            };
            page.records.extend(record.map(|r| (key.to_owned(), r)));
            Ok(())
        })?;
        Ok(page)
    }

    pub fn keys(&self, range: &Range) -> Result<Keys, StoreError> {
        let mut keys = Vec::new();
        let more = self.walk(range, |_, key, _, _| {
            keys.push(key.to_owned());
            Ok(())
        })?;
        Ok(Keys { keys, more })
    }

    /// Calls `visit` with place, key, head and stored form of each live record; whether more follow.
    fn walk(
        &self,
        range: &Range,
        mut visit: impl FnMut(&[u8], &str, Head, &[u8]) -> Result<(), StoreError>,
    ) -> Result<bool, StoreError> {
        let Range { space, prefix, after, limit } = range;
        let Some((number, _)) = self.spaces.get(space) else { return Ok(false) };
        let (records, now) = (self.records()?, (self.clock)());
        let whole = record_key(number, prefix);
        let after = after.as_ref().filter(|a| *a >= prefix).map(|a| record_key(number, a));
        let start = after.as_deref().map_or(Bound::Included(&whole[..]), Bound::Excluded);
        let mut visited = 0;
        for row in records.range::<&[u8]>((start, Bound::Unbounded)).map_err(unavailable)? {
            let (at, stored) = row.map_err(unavailable)?;
            let (at, stored) = (at.value(), stored.value());
            if !at.starts_with(&whole) {
                return Ok(false);
            }
            let head = head(at, stored)?;
            if head.is_expired(now) {
                continue;
            }
            if visited == *limit {
                return Ok(true);
            }
            let (_, key) = split_record_key(at).ok_or_else(|| damaged(at, "its key is not text"))?;
            visit(at, key, head, stored)?;
            visited += 1;
        }
        Ok(false)
    }

    pub fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let Some((number, last)) = self.spaces.get(space) else { return Ok(none_since(after, Revision(0))) };
        if after >= last {
            return Ok(none_since(after, last));
        }
        let read = self.begin_read()?;
        let feed = read.open_table(FEED).map_err(unavailable)?;
        let mut changes = Vec::new();
        let rows = feed.range((number, after.0 + 1)..=(number, u64::MAX)).map_err(unavailable)?;
        for (row, expected) in rows.take(limit).zip(after.0 + 1..) {
            let (at, keys) = row.map_err(unavailable)?;
            let revision = at.value().1;
            if revision != expected {
                return Ok(Changes::Trimmed);
            }
            let keys = format::read_keys(keys.value()).ok_or_else(|| StoreError::Damaged {
                key: format!("change {revision} of {space:?}"),
                reason: "cut short".into(),
            })?;
            changes.push(Change { revision: Revision(revision), token: 0, keys });
        }
        Ok(Changes::Since(changes))
    }

    fn records(&self) -> Result<Records, StoreError> {
        let read = self.begin_read()?;
        read.open_table(RECORDS).map_err(unavailable)
    }

    fn open(&self, at: &[u8], head: Head, stored: &[u8]) -> Result<Option<Record>, StoreError> {
        let value = format::unseal(at, stored, &self.keys.read(head.slot)?);
        Ok(value.map(|v| Record { value: Bytes::from(v), version: head.version }))
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store's file is being opened anew".into())
}

/// Nothing to tell, unless the follower knows of a revision that this store never had.
fn none_since(after: Revision, last: Revision) -> Changes {
    if after > last { Changes::Trimmed } else { Changes::Since(Vec::new()) }
}

fn head(at: &[u8], stored: &[u8]) -> Result<Head, StoreError> {
    Head::parse(stored).ok_or_else(|| damaged(at, "cut short"))
}

fn damaged(at: &[u8], reason: &str) -> StoreError {
    let key = split_record_key(at).map_or_else(|| "a key that is no text".into(), |(_, key)| key.to_owned());
    StoreError::Damaged { key, reason: reason.into() }
}
