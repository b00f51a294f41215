//! One collection's place in this process: its gallery if in memory, its snapshot, and the locks that order catching
//! up, saving and erasing. Used by `galleries.rs`.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use store::{Mark, Revision};

use crate::{
    GalleryError, SubjectEntry,
    follower::Source,
    live::Live,
    pool::Pool,
    snapshot::{Header, Snapshots},
};

/// What the snapshot on disk holds, as far as this process knows.
#[derive(Clone, Copy, Default)]
pub struct Saved {
    revision: Revision,
    rows: usize,
}

/// One collection's place.
pub struct Cell {
    /// The store's side.
    pub source: Source,
    /// When it was last asked for, on the galleries' own clock.
    pub used: AtomicU64,
    /// Threads that share large scans.
    pub pool: Arc<Pool>,
    /// Held while catching up.
    pub turn: tokio::sync::Mutex<()>,
    live: RwLock<Option<Arc<Live>>>,
    /// How often all galleries of the process were let go of.
    generation: Arc<AtomicU64>,
    /// Held by whoever writes or destroys the file, until that is done even if its caller has gone away.
    saved: Arc<tokio::sync::Mutex<Saved>>,
    /// Tells a save under way that its file holds erased rows.
    abort: Arc<AtomicBool>,
}

impl Cell {
    /// Nothing in memory yet.
    pub fn new(source: Source, generation: &Arc<AtomicU64>, pool: &Arc<Pool>) -> Self {
        Self {
            source,
            used: AtomicU64::new(0),
            pool: Arc::clone(pool),
            turn: tokio::sync::Mutex::default(),
            live: RwLock::default(),
            generation: Arc::clone(generation),
            saved: Arc::default(),
            abort: Arc::default(),
        }
    }

    /// The gallery, if in memory.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.read().clone()
    }

    /// Takes the gallery out of memory.
    pub fn take(&self) -> Option<Arc<Live>> {
        self.live.write().take()
    }

    /// Takes the gallery out of memory for it to be closed. A save under way leaves no file.
    pub fn give_up(&self) -> Option<Arc<Live>> {
        self.abort.store(true, Ordering::Release);
        self.take()
    }

    /// Which generation of galleries one that is begun now belongs to.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes `live`, begun in the given generation, the gallery; not if all were let go of meanwhile.
    pub fn install(&self, live: Live, generation: u64) -> Result<Arc<Live>, GalleryError> {
        let mut place = self.live.write();
        if self.generation() != generation {
            return Err(GalleryError::LetGo);
        }
        let live = Arc::new(live);
        *place = Some(Arc::clone(&live));
        Ok(live)
    }

    /// After rows went away from `live`: returns when no snapshot has them and no search still reads them.
    pub async fn let_go(&self, snapshots: Option<&Snapshots>, live: &Arc<Live>) -> Result<(), GalleryError> {
        self.destroy_snapshot(snapshots).await?;
        let live = Arc::clone(live);
        blocking(move || {
            live.erase_barrier();
            Ok(())
        })
        .await
    }

    /// Overwrites and removes the snapshot, one being written too.
    pub async fn destroy_snapshot(&self, snapshots: Option<&Snapshots>) -> Result<(), GalleryError> {
        let Some(snapshots) = snapshots.cloned() else { return Ok(()) };
        self.abort.store(true, Ordering::Release);
        let mut saved = Arc::clone(&self.saved).lock_owned().await;
        let (tenant, collection) = (self.source.tenant.clone(), self.source.collection.clone());
        blocking(move || {
            *saved = Saved::default();
            snapshots.destroy(&tenant, &collection)
        })
        .await
    }

    /// Overwrites and removes a file that an earlier process began and did not finish.
    pub async fn destroy_unfinished(&self, snapshots: &Snapshots) -> Result<(), GalleryError> {
        let _writing = self.saved.lock().await;
        let (snapshots, tenant, collection) =
            (snapshots.clone(), self.source.tenant.clone(), self.source.collection.clone());
        blocking(move || snapshots.destroy_unfinished(&tenant, &collection)).await
    }

    /// Writes the snapshot if the gallery has grown by a tenth since the last one, or, with `always`, changed.
    pub async fn save(
        &self,
        snapshots: Option<&Snapshots>,
        live: &Arc<Live>,
        always: bool,
    ) -> Result<(), GalleryError> {
        let Some(snapshots) = snapshots.cloned() else { return Ok(()) };
        let mut saved = Arc::clone(&self.saved).lock_owned().await;
        // Rows that went away before this are not in `live` any more.
        self.abort.store(false, Ordering::Release);
        let (revision, rows) = (live.revision(), live.len());
        let due = if always { revision != saved.revision } else { rows > saved.rows + saved.rows / 10 };
        if !due || rows == 0 {
            return Ok(());
        }
        let Some((fingerprint, _)) = self.source.fingerprint(revision).await? else { return Ok(()) };
        let (tenant, collection) = (self.source.tenant.clone(), self.source.collection.clone());
        let header = Header { tenant, collection, revision, fingerprint };
        let (live, abort) = (Arc::clone(live), Arc::clone(&self.abort));
        blocking(move || {
            // Rows of a gallery that is closed meanwhile would be missing from the file.
            if snapshots.save(&header, &live, &|| abort.load(Ordering::Acquire) || live.is_closed())?.is_some() {
                *saved = Saved { revision, rows };
            }
            Ok(())
        })
        .await
    }

    /// The gallery from its snapshot; `None` if there is none that can be used. A snapshot that cannot be used is
    /// destroyed: it may hold erased rows.
    pub async fn load(&self, snapshots: Option<&Snapshots>) -> Result<Option<Arc<Live>>, GalleryError> {
        let Some(found) = snapshots.cloned() else { return Ok(None) };
        let generation = self.generation();
        match self.read(found).await? {
            Ok(None) => Ok(None),
            Ok(Some(live)) => {
                *self.saved.lock().await = Saved { revision: live.revision(), rows: live.len() };
                self.install(live, generation).map(Some)
            }
            Err(reason) => {
                tracing::warn!(collection = %self.source.collection, %reason, "snapshot ignored");
                self.destroy_snapshot(snapshots).await?;
                Ok(None)
            }
        }
    }

    /// Reads the snapshot; the inner error says why it cannot be used.
    async fn read(&self, snapshots: Snapshots) -> Result<io::Result<Option<Live>>, GalleryError> {
        let (tenant, collection) = (self.source.tenant.clone(), self.source.collection.clone());
        let from = snapshots.clone();
        let header = match blocking_io(move || from.header(&tenant, &collection)).await {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Ok(None)),
            Err(e) => return Ok(Err(e)),
        };
        let token = match self.source.fingerprint(header.revision).await? {
            Some((fingerprint, token)) if fingerprint == header.fingerprint => token,
            _ => return Ok(Err(io::Error::other("too old, or of another history of the store"))),
        };
        let live = Live::new(&self.pool);
        let subjects = self.source.subjects(&live).await?;
        let loaded = blocking_io(move || {
            snapshots.load(&header, |key, template| {
                // A subject erased since has no entry; the feed will say so.
                let subject: Option<&Arc<SubjectEntry>> = subjects.get(&key.handle);
                let put = subject.map(|s| live.add(key, template, Arc::clone(s)));
                put.transpose().map(drop).map_err(io::Error::other)
            })?;
            live.advance(Mark { revision: header.revision, token });
            Ok(Some(live))
        });
        Ok(loaded.await)
    }
}

/// Runs file and lock waits off the async threads.
pub async fn blocking<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, GalleryError> {
    blocking_io(f).await.map_err(GalleryError::Snapshot)
}

async fn blocking_io<T: Send + 'static>(f: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(f).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}
