//! Writing: one thread takes the commits that wait and makes one redb transaction of them, so that many callers
//! share the price of reaching the disk. Each commit still succeeds or fails on its own.
//!
//! Order within a transaction, so that a crash anywhere loses nothing and revives nothing:
//! new keys on disk → records on disk → keys of removed values destroyed (on disk too, if anything was erased)
//! → acknowledged.
//!
//! A write that fails for want of room is not the end: the file is opened anew, what the failed commit left behind is
//! cleared away as after a crash, and reads go on; commits do when there is room.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use ::redb::{ReadableTable, Table, WriteTransaction};
use domain::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{
    Files,
    format::{EXPIRY, FEED, Head, RECORDS, SLOTS, SPACES, SealingKey, record_key, unavailable, write_keys},
    load,
    reader::Reader,
    slots::SlotMap,
    sweep,
};
use crate::{Commit, Op, Precondition, Revision, Space, StoreError};

/// Most commits, and about how many bytes of values, that share a transaction.
const GROUP: usize = 256;
const GROUP_BYTES: usize = 16 << 20;

/// Least time between two attempts to open a file anew that was closed because its disk took no more.
const REOPEN_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub enum Request {
    Commit {
        space: Space,
        commit: Commit,
        reply: oneshot::Sender<Result<Revision, StoreError>>,
    },
    Sweep {
        now: Timestamp,
        reply: oneshot::Sender<Result<usize, StoreError>>,
    },
    /// Go on after a failure, if that can be.
    Revive {
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
}

type Reply = oneshot::Sender<Result<Revision, StoreError>>;

pub struct Writer {
    reader: Arc<Reader>,
    slots: SlotMap,
    feed_kept: u64,
    files: Files,
    failed: Option<Failed>,
}

/// Why nothing is written at present.
struct Failed {
    reason: StoreError,
    /// When the file was last tried.
    tried: Instant,
}

impl Writer {
    pub const fn new(reader: Arc<Reader>, slots: SlotMap, feed_kept: u64, files: Files) -> Self {
        Self { reader, slots, feed_kept, files, failed: None }
    }

    /// Serves until every sender is gone.
    pub fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut next = inbox.blocking_recv();
        while let Some(first) = next.take() {
            let mut group = Vec::new();
            let mut bytes = 0;
            let mut request = Some(first);
            while let Some(Request::Commit { space, commit, reply }) = request {
                bytes += size(&commit);
                group.push((space, commit, reply));
                let full = group.len() >= GROUP || bytes >= GROUP_BYTES;
                request = if full { None } else { inbox.try_recv().ok() };
            }
            self.serve(group);
            // A caller that went away no longer cares.
            match request {
                Some(Request::Sweep { now, reply }) => drop(reply.send(self.sweep(now))),
                Some(Request::Revive { reply }) => drop(reply.send(self.revive())),
                Some(Request::Commit { .. }) | None => {}
            }
            next = inbox.blocking_recv();
        }
    }

    fn serve(&mut self, group: Vec<(Space, Commit, Reply)>) {
        let (commits, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|(s, c, r)| ((s, c), r)).unzip();
        match self.commit(&commits) {
            Ok(results) => replies.into_iter().zip(results).for_each(|(reply, result)| drop(reply.send(result))),
            Err(e) => replies.into_iter().for_each(|r| drop(r.send(Err(again(&e))))),
        }
    }

    fn sweep(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let commits = sweep::expired(&self.reader, now)?;
        let swept = commits.iter().map(|(_, c)| c.ops.len()).sum();
        self.commit(&commits)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(swept)
    }

    /// Commits a group, with one result for each. An error means that none of them is known to have happened; what the
    /// disk holds is then unclear, so nothing more is written until the store has been opened anew. This does so where
    /// the disk took no more; after any other failure somebody has to look first, and start the process again.
    fn commit(&mut self, commits: &[(Space, Commit)]) -> Result<Vec<Result<Revision, StoreError>>, StoreError> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        self.revive()?;
        let bytes: u64 = commits.iter().map(|(_, c)| size(c) as u64).sum();
        let erases = commits.iter().any(|(_, c)| c.ops.iter().any(|op| matches!(op, Op::Erase { .. })));
        // Asked before anything is begun: nothing has failed then, and everything can be read.
        self.files.disk.room_for(bytes, erases)?;
        let done = self.transact(commits);
        if let Err(e) = &done {
            self.fail(again(e));
        }
        done
    }

    fn fail(&mut self, reason: StoreError) {
        tracing::error!(error = %reason, "a commit failed");
        self.reader.set_failed(true);
        let full = matches!(reason, StoreError::NoRoom(_));
        self.failed = Some(Failed { reason, tried: Instant::now() });
        if full {
            // Reading needs no room, and redb reads nothing more from a file that it could not write.
            self.reopen();
        }
    }

    /// Opens the file anew if that is what is missing.
    fn revive(&mut self) -> Result<(), StoreError> {
        let due = |f: &Failed| matches!(f.reason, StoreError::NoRoom(_)) && f.tried.elapsed() >= REOPEN_EVERY;
        if self.failed.as_ref().is_some_and(due) {
            self.reopen();
        }
        self.failed.as_ref().map_or(Ok(()), |f| Err(again(&f.reason)))
    }

    fn reopen(&mut self) {
        let opened = self.reader.reopen(|| self.files.open());
        let loaded = opened.and_then(|()| self.reader.with_db(|db| load(db, &self.reader.keys)));
        match loaded {
            Ok((spaces, slots)) => {
                self.reader.spaces.replace(spaces);
                self.slots = slots;
                self.failed = None;
                self.reader.set_failed(false);
                tracing::info!("the store was opened anew");
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be opened anew yet");
                if let Some(failed) = &mut self.failed {
                    failed.tried = Instant::now();
                }
            }
        }
    }

    fn transact(&mut self, commits: &[(Space, Commit)]) -> Result<Vec<Result<Revision, StoreError>>, StoreError> {
        let txn = self.reader.begin_write()?;
        let mut group = Group::open(&txn, self)?;
        let mut results = Vec::with_capacity(commits.len());
        for (space, commit) in commits {
            results.push(match group.unmet(space, commit)? {
                Some(key) => Err(StoreError::Precondition { key }),
                None => Ok(group.apply(space, commit)?),
            });
        }
        let Effects { mut fresh, stale, spaces, erases } = group.close()?;
        if spaces.is_empty() {
            txn.abort().map_err(unavailable)?;
            return Ok(results);
        }
        let keys = &self.reader.keys;
        if !fresh.is_empty() {
            keys.write(&mut fresh)?;
            keys.sync()?;
        }
        txn.commit().map_err(unavailable)?;
        keys.destroy(&stale)?;
        if erases {
            keys.sync()?;
        }
        for (space, (number, revision)) in spaces {
            self.reader.spaces.publish(space, number, revision);
        }
        Ok(results)
    }
}

/// The same failure, for one more caller.
fn again(e: &StoreError) -> StoreError {
    match e {
        StoreError::NoRoom(reason) => StoreError::NoRoom(reason.clone()),
        StoreError::Unavailable(reason) => StoreError::Unavailable(reason.clone()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn size(commit: &Commit) -> usize {
    commit.ops.iter().map(|op| if let Op::Put { value, .. } = op { value.len() } else { 0 }).sum()
}

/// What a transaction does outside of the redb file.
struct Effects {
    fresh: Vec<(u64, SealingKey)>,
    stale: Vec<u64>,
    spaces: HashMap<Space, (u32, Revision)>,
    erases: bool,
}

/// A transaction under way.
struct Group<'t, 'w> {
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
    fn open(txn: &'t WriteTransaction, writer: &'w mut Writer) -> Result<Self, StoreError> {
        Ok(Self {
            records: txn.open_table(RECORDS).map_err(unavailable)?,
            spaces: txn.open_table(SPACES).map_err(unavailable)?,
            feed: txn.open_table(FEED).map_err(unavailable)?,
            expiry: txn.open_table(EXPIRY).map_err(unavailable)?,
            slot_rows: txn.open_table(SLOTS).map_err(unavailable)?,
            slots: &mut writer.slots,
            feed_kept: writer.feed_kept,
            now: (writer.reader.clock)(),
            effects: Effects { fresh: Vec::new(), stale: Vec::new(), spaces: HashMap::new(), erases: false },
        })
    }

    /// The key of the first precondition that does not hold.
    fn unmet(&self, space: &Space, commit: &Commit) -> Result<Option<String>, StoreError> {
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

    fn apply(&mut self, space: &Space, commit: &Commit) -> Result<Revision, StoreError> {
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
        if let Some(trimmed) = revision.0.checked_sub(self.feed_kept) {
            self.feed.remove((number, trimmed)).map_err(unavailable)?;
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
    fn close(mut self) -> Result<Effects, StoreError> {
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
