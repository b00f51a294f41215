//! Writing: one thread takes the commits that wait and makes one redb transaction of them, so that many callers
//! share the price of reaching the disk. Each commit still succeeds or fails on its own.
//!
//! Order within a transaction, so that a crash anywhere loses nothing and revives nothing:
//! new keys on disk → records on disk → keys of removed values destroyed (on disk too, if anything was erased)
//! → acknowledged.
//!
//! A write that fails for want of room is not the end: the file is opened anew, what the failed commit left behind is
//! cleared away as after a crash, and reads go on; commits do when there is room.

mod group;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Timestamp;
use tokio::sync::{mpsc, oneshot};

use self::group::{Effects, Group};
use super::{Files, format::unavailable, load, reader::Reader, slots::SlotMap, sweep};
use crate::{Commit, Op, Revision, Space, StoreError};

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
        let mut group = Group::open(&txn, (&mut self.slots, self.feed_kept), (self.reader.clock)())?;
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
