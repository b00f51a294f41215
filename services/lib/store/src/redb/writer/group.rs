//! What commits of one transaction do to redb's tables, and what is to be done outside of them: keys written before the
//! transaction, and destroyed after it. Caller: the writer.

use std::collections::HashMap;

use ::redb::{ReadableTable, Table, WriteTransaction};
use domain::Timestamp;

use super::super::{
    format::{EXPIRY, FEED, Head, RECORDS, SLOTS, SPACES, SealingKey, record_key, unavailable, write_keys},
    slots::SlotMap,
};
use crate::{Commit, Op, Precondition, Revision, Space, StoreError};

/// What a transaction does outside of the redb file.
pub struct Effects {
    /// Keys of new values, to be on disk before the transaction is.
    pub fresh: Vec<(u64, SealingKey)>,
    /// Keys of removed values, to be destroyed after it.
    pub stale: Vec<u64>,
    /// Where the spaces are then.
    pub spaces: HashMap<Space, (u32, Revision)>,
    /// Whether the destroyed keys must be gone from the disk before the answer.
    pub erases: bool,
}

/// A transaction under way.
pub struct Group<'t, 'w> {
    records: Table<'t, &'static [u8], &'static [u8]>,
    spaces: Table<'t, &'static str, (u32, u64)>,
    feed: Table<'t, (u32, u64), &'static [u8]>,
    expiry: Table<'t, (i64, &'static [u8]), ()>,
    slot_rows: Table<'t, u32, &'static [u8]>,
    slots: &'w mut SlotMap,
    feed_kept: u64,
    now: Timestamp,
    effects: Effects,
}

impl<'t, 'w> Group<'t, 'w> {
    /// Over a transaction. `feed_kept` commits of each space stay in its change feed; values expire by `now`.
    pub fn open(
        txn: &'t WriteTransaction,
        (slots, feed_kept): (&'w mut SlotMap, u64),
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            records: txn.open_table(RECORDS).map_err(unavailable)?,
            spaces: txn.open_table(SPACES).map_err(unavailable)?,
            feed: txn.open_table(FEED).map_err(unavailable)?,
            expiry: txn.open_table(EXPIRY).map_err(unavailable)?,
            slot_rows: txn.open_table(SLOTS).map_err(unavailable)?,
            slots,
            feed_kept,
            now,
            effects: Effects { fresh: Vec::new(), stale: Vec::new(), spaces: HashMap::new(), erases: false },
        })
    }

    /// The key of the first precondition that does not hold.
    pub fn unmet(&self, space: &Space, commit: &Commit) -> Result<Option<String>, StoreError> {
        let number = self.state(space)?.map(|(number, _)| number);
        for p in &commit.preconditions {
            let (Precondition::Absent(key) | Precondition::Present(key) | Precondition::Unchanged(key, _)) = p;
            let head = match number {
                Some(n) => self.head(&record_key(n, key))?.filter(|h| !h.is_expired(self.now)),
                None => None,
            };
            let holds = match p {
                Precondition::Absent(_) => head.is_none(),
                Precondition::Present(_) => head.is_some(),
                Precondition::Unchanged(_, version) => head.is_some_and(|h| h.version == *version),
            };
            if !holds {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }

    /// Carries out a commit whose preconditions hold.
    pub fn apply(&mut self, space: &Space, commit: &Commit) -> Result<Revision, StoreError> {
        let (number, last) = match self.state(space)? {
            Some(state) => state,
            None => (
                u32::try_from(::redb::ReadableTableMetadata::len(&self.spaces).map_err(unavailable)?)
                    .map_err(unavailable)?,
                Revision(0),
            ),
        };
        let revision = Revision(last.0 + 1);
        for op in &commit.ops {
            match op {
                Op::Put { key, value, expires_at } => {
                    self.put(&record_key(number, key), value, *expires_at, revision)?;
                }
                Op::Delete { key } => self.remove(&record_key(number, key))?,
                Op::Erase { key } => {
                    self.remove(&record_key(number, key))?;
                    self.effects.erases = true;
                }
            }
        }
        let touched = commit.ops.iter().map(|op| {
            let (Op::Put { key, .. } | Op::Delete { key } | Op::Erase { key }) = op;
            key.as_str()
        });
        self.feed.insert((number, revision.0), &write_keys(touched)[..]).map_err(unavailable)?;
        if let Some(trimmed) = revision.0.checked_sub(space.feed_kept(self.feed_kept)) {
            // More than one where more were kept before.
            self.feed.retain_in((number, 0)..=(number, trimmed), |_, _| false).map_err(unavailable)?;
        }
        self.spaces.insert(space.as_str(), (number, revision.0)).map_err(unavailable)?;
        self.effects.spaces.insert(space.clone(), (number, revision));
        Ok(revision)
    }

    fn put(
        &mut self,
        at: &[u8],
        value: &[u8],
        expires_at: Option<Timestamp>,
        version: Revision,
    ) -> Result<(), StoreError> {
        let mut key = SealingKey::default();
        getrandom::fill(&mut key).map_err(unavailable)?;
        let head = Head { version, expires_at, slot: self.slots.allocate() };
        let stored = head.seal(at, value, &key)?;
        let former = self.records.insert(at, &stored[..]).map_err(unavailable)?.and_then(|s| Head::parse(s.value()));
        self.discard(at, former)?;
        if let Some(t) = expires_at {
            self.expiry.insert((t.as_millis(), at), ()).map_err(unavailable)?;
        }
        self.effects.fresh.push((head.slot, key));
        Ok(())
    }

    fn remove(&mut self, at: &[u8]) -> Result<(), StoreError> {
        let former = self.records.remove(at).map_err(unavailable)?.and_then(|s| Head::parse(s.value()));
        self.discard(at, former)
    }

    /// Forgets when a removed value would have expired, and marks its key for destruction.
    fn discard(&mut self, at: &[u8], former: Option<Head>) -> Result<(), StoreError> {
        let Some(head) = former else { return Ok(()) };
        if let Some(t) = head.expires_at {
            self.expiry.remove((t.as_millis(), at)).map_err(unavailable)?;
        }
        self.effects.stale.push(head.slot);
        Ok(())
    }

    /// Writes which slots are in use now. Slots are given back only here, after the last was taken.
    pub fn close(mut self) -> Result<Effects, StoreError> {
        for slot in &self.effects.stale {
            self.slots.free(*slot);
        }
        for (chunk, bits) in self.slots.take_changed() {
            self.slot_rows.insert(chunk, &bits[..]).map_err(unavailable)?;
        }
        Ok(self.effects)
    }

    fn state(&self, space: &Space) -> Result<Option<(u32, Revision)>, StoreError> {
        let state = self.spaces.get(space.as_str()).map_err(unavailable)?;
        Ok(state.map(|s| s.value()).map(|(number, revision)| (number, Revision(revision))))
    }

    fn head(&self, at: &[u8]) -> Result<Option<Head>, StoreError> {
        Ok(self.records.get(at).map_err(unavailable)?.and_then(|stored| Head::parse(stored.value())))
    }
}
