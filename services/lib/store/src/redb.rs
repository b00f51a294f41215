//! The embedded engine: records in a redb file, the keys they are sealed with in a second file beside it.
//! One process, one writer thread, any number of readers. Opened by whoever runs all roles in one process.
//!
//! redb never overwrites in place, so a removed value's pages stay in its file until they happen to be reused. That
//! is why every value is sealed with a key of its own, and the keys lie where they can be overwritten: erasing a
//! value is destroying 32 bytes, whatever the size of the file.

mod disk;
mod format;
mod keyfile;
mod reader;
mod slots;
mod sweep;
mod writer;

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use ::redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, backends::FileBackend};
use async_trait::async_trait;
use domain::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::{Changes, Commit, Durability, Keys, Op, Page, Record, Revision, Space, Store, StoreError};
use disk::Disk;
use keyfile::KeyFile;
use reader::{Range, Reader, Spaces};
use slots::SlotMap;
use writer::{Request, Writer};

/// Longest key and value, in bytes; far beyond what the repositories write.
const MAX_KEY: usize = 1 << 16;
const MAX_VALUE: usize = 256 << 20;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct RedbOptions {
    /// Memory for pages, in bytes.
    pub cache_bytes: usize,
    /// Commits per space that the change feed reaches back.
    pub feed_kept: u64,
    /// Commits that may wait for the writer before callers have to.
    pub queue: usize,
    /// What time it is, for values that expire.
    pub clock: fn() -> Timestamp,
    /// Bytes of the disk that are left free: commits are refused beyond, so that a full disk harms nothing.
    pub disk_reserve: u64,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, feed_kept: 65_536, queue: 1_024, clock: Timestamp::now, disk_reserve: 32 << 20 }
    }
}

/// An open store. Dropping it finishes the commits under way and lets go of the files.
#[derive(Debug)]
pub struct RedbStore {
    reader: Arc<Reader>,
    disk: Arc<Disk>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl RedbStore {
    /// Opens the store at `path`, or makes it; its keys are in `path` + `.keys`. The folder must exist.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has it open, the keys are missing or not this store's, or
    /// the disk fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, RedbOptions::default())
    }

    /// Like [`RedbStore::open`], set up differently.
    ///
    /// # Errors
    /// Like [`RedbStore::open`].
    pub fn open_with(path: &Path, options: RedbOptions) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::new(folder_of(path).to_owned(), options.disk_reserve));
        let files = Files { path: path.to_owned(), cache_bytes: options.cache_bytes, disk: disk.clone() };
        let db = files.open()?;
        let keys = open_keys(&db, path)?;
        let (spaces, slots) = load(&db, &keys)?;
        let reader = Arc::new(Reader::new(db, keys, spaces, options.clock));
        let (requests, inbox) = mpsc::channel(options.queue.max(1));
        let writer = Writer::new(reader.clone(), slots, options.feed_kept, files);
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || writer.run(inbox));
        let thread = thread.map_err(|e| StoreError::Unavailable(format!("no thread to write with: {e}")))?;
        Ok(Self { reader, disk, requests: Some(requests), writer: Some(thread) })
    }

    async fn ask<T>(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the writer has stopped".into());
        self.requests.as_ref().ok_or_else(gone)?.send(request).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader = self.reader.clone();
        let done = tokio::task::spawn_blocking(move || f(&reader)).await;
        done.map_err(|e| StoreError::Unavailable(format!("a read did not finish: {e}")))?
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer ended abnormally");
        }
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        let (space, key) = (space.clone(), key.to_owned());
        self.read(move |r| r.get(&space, &key)).await
    }

    async fn get_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        let (space, keys) = (space.clone(), keys.to_vec());
        self.read(move |r| keys.iter().map(|key| r.get(&space, key)).collect()).await
    }

    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let range = range(space, prefix, after, limit);
        self.read(move |r| r.scan(&range)).await
    }

    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        let range = range(space, prefix, after, limit);
        self.read(move |r| r.keys(&range)).await
    }

    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        let fits = |op: &Op| match op {
            Op::Put { key, value, .. } => key.len() <= MAX_KEY && value.len() <= MAX_VALUE,
            Op::Delete { key } | Op::Erase { key } => key.len() <= MAX_KEY,
        };
        if !commit.ops.iter().all(fits) {
            return Err(StoreError::Unavailable("a key or value is larger than the store takes".into()));
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Commit { space: space.clone(), commit, reply }, answer).await
    }

    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        Ok(self.reader.revision(space))
    }

    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let space = space.clone();
        self.read(move |r| r.changes(&space, after, limit)).await
    }

    async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        Ok(self.reader.spaces.all().into_keys().collect())
    }

    fn durability(&self) -> Durability {
        Durability::Fsync
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut swept = 0;
        loop {
            let (reply, answer) = oneshot::channel();
            match self.ask(Request::Sweep { now, reply }, answer).await? {
                0 => return Ok(swept),
                n => swept += n,
            }
        }
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.reader.has_failed() {
            let (reply, answer) = oneshot::channel();
            self.ask(Request::Revive { reply }, answer).await?;
        }
        self.reader.check()?;
        // Whoever is told that the store is ready can put down what requests put down, and not only nothing at all.
        self.disk.room_for(disk::USUAL, false)
    }

    fn engine(&self) -> &'static str {
        "redb"
    }
}

fn range(space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Range {
    Range { space: space.clone(), prefix: prefix.to_owned(), after: after.map(str::to_owned), limit }
}

/// Where the records lie and how they are opened, for the writer to do it again.
struct Files {
    path: PathBuf,
    cache_bytes: usize,
    disk: Arc<Disk>,
}

impl Files {
    fn open(&self) -> Result<Database, StoreError> {
        let file = open_file(&self.path)?;
        let mut builder = ::redb::Builder::new();
        // Every page is checked before it is trusted: a disk that changed one is told here, not guessed at later.
        builder.set_cache_size(self.cache_bytes).set_check_integrity_on_open(true);
        let shown = self.path.display();
        let db = FileBackend::new(file).and_then(|backend| builder.create_with_backend(backend));
        db.map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen => {
                StoreError::Unavailable(format!("{shown} is in use by another process"))
            }
            e if disk::takes_no_more(&e) => StoreError::NoRoom(format!("{shown} cannot be opened: {e}")),
            e => StoreError::Unavailable(format!("{shown} cannot be opened: {e}")),
        })
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens or makes a file that only its owner may read.
fn open_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|e| StoreError::Unavailable(format!("{} cannot be opened: {e}", path.display())))
}

/// Where the keys of the store at `path` are.
fn keys_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".keys");
    name.into()
}

/// Opens the keys that belong to `db`; a store that never had any gets a new file.
fn open_keys(db: &Database, path: &Path) -> Result<KeyFile, StoreError> {
    let keys_path = keys_path(path);
    let read = db.begin_read().map_err(format::unavailable)?;
    let known = match read.open_table(format::STORE) {
        Ok(table) => table.get("keys").map_err(format::unavailable)?.map(|id| id.value().to_vec()),
        Err(::redb::TableError::TableDoesNotExist(_)) => None,
        Err(e) => return Err(format::unavailable(e)),
    };
    if let Some(id) = known {
        return KeyFile::open(&keys_path, &id);
    }
    let (keys, id) = KeyFile::create(&keys_path)?;
    File::open(folder_of(path)).and_then(|d| d.sync_all()).map_err(format::unavailable)?;
    let write = db.begin_write().map_err(format::unavailable)?;
    {
        let mut table = write.open_table(format::STORE).map_err(format::unavailable)?;
        table.insert("keys", &id[..]).map_err(format::unavailable)?;
        // So that readers find every table from the start.
        write.open_table(format::RECORDS).map_err(format::unavailable)?;
        write.open_table(format::SPACES).map_err(format::unavailable)?;
        write.open_table(format::FEED).map_err(format::unavailable)?;
        write.open_table(format::EXPIRY).map_err(format::unavailable)?;
        write.open_table(format::SLOTS).map_err(format::unavailable)?;
    }
    write.commit().map_err(format::unavailable)?;
    Ok(keys)
}

/// Reads what is kept in memory, and destroys keys left behind by a crash: those of commits that were never
/// acknowledged, and those of removed values.
fn load(db: &Database, keys: &KeyFile) -> Result<(Spaces, SlotMap), StoreError> {
    let read = db.begin_read().map_err(format::unavailable)?;
    let mut spaces = HashMap::new();
    for row in read.open_table(format::SPACES).map_err(format::unavailable)?.iter().map_err(format::unavailable)? {
        let (name, state) = row.map_err(format::unavailable)?;
        let (id, revision) = state.value();
        spaces.insert(Space::named(name.value()), (id, Revision(revision)));
    }
    let mut slots = SlotMap::default();
    for row in read.open_table(format::SLOTS).map_err(format::unavailable)?.iter().map_err(format::unavailable)? {
        let (chunk, bits) = row.map_err(format::unavailable)?;
        slots.load(chunk.value(), bits.value());
    }
    let wiped = keys.wipe_unless(|slot| slots.is_used(slot))?;
    if wiped > 0 {
        tracing::info!(wiped, "keys left behind by an unclean stop were destroyed");
    }
    Ok((Spaces::new(spaces), slots))
}

#[cfg(test)]
mod tests;
