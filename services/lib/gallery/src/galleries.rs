//! All galleries of this process: gives the worker one that has caught up with the store, shares the catching up
//! between concurrent callers, and keeps memory within bounds. What is done now and then is in `upkeep.rs`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use domain::{CollectionId, ContractId, Template, TenantId, Timestamp};
use parking_lot::Mutex;
use seal::Keyring;
use store::{Mark, Revision, Space, Store};

use crate::{
    FlatIndex, GalleryError, Hits, Index, Query,
    cell::Cell,
    follower::{Source, Step},
    live::Live,
    pool::Pool,
    snapshot::Snapshots,
};

/// How often a gallery is read afresh because the feed was trimmed meanwhile, before the caller hears of it.
const ATTEMPTS: usize = 3;

/// Options of [`Galleries`].
#[derive(Clone, Debug, Default)]
pub struct GalleryOptions {
    /// Where snapshots are kept; none without.
    pub snapshots: Option<PathBuf>,
    /// Keys that seal them; without, they lie there as they are.
    pub keyring: Option<Arc<Keyring>>,
    /// Memory for all galleries together, in bytes; the least recently searched are dropped beyond it. Unbounded
    /// without. The gallery in use always stays.
    pub max_bytes: Option<usize>,
    /// Threads that share a scan of a large gallery, the caller's included; 0 for as many as there are cores.
    pub threads: usize,
}

/// What is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GalleryStats {
    /// Collections.
    pub collections: usize,
    /// Rows of all of them.
    pub rows: usize,
    /// Bytes of all of them, roughly.
    pub bytes: usize,
}

/// A collection's gallery as one embedding contract sees it.
pub struct CollectionGallery {
    revision: Revision,
    index: Arc<FlatIndex>,
    live: Arc<Live>,
}

impl CollectionGallery {
    /// Every change of the store up to this revision is applied; later ones may be.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Searches for templates, all in one pass, as `scope` says; its own values do not count. The one way from a template
    /// to rows: a template of another contract than the gallery's is never compared with any.
    ///
    /// # Errors
    /// [`GalleryError::Contract`] for a template of another contract; those of [`Index::search`].
    pub fn search(&self, probes: &[Template], scope: Query<'_>) -> Result<Vec<Hits>, GalleryError> {
        let expected = self.index.contract();
        if let Some(other) = probes.iter().map(Template::contract).find(|c| *c != expected) {
            return Err(GalleryError::Contract { expected, got: other });
        }
        let values: Vec<Vec<f32>> = probes.iter().map(Template::to_f32).collect();
        let queries: Vec<Query<'_>> = values.iter().map(|values| Query { values, ..scope }).collect();
        self.index.search_many(&queries)
    }

    /// Whether a search with so many probes may wait for one under way; see [`FlatIndex::shares_passes`].
    #[must_use]
    pub fn shares_passes(&self, probes: usize) -> bool {
        self.index.shares_passes(probes)
    }

    /// Rows of the contract asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Whether hits are certain to be the best rows.
    #[must_use]
    pub fn exact(&self) -> bool {
        self.index.exact()
    }

    /// The rows of the contract asked for. Follows the store as long as the gallery is in memory. For tests and
    /// measurements: what is searched here is not asked for its contract.
    #[doc(hidden)]
    #[must_use]
    pub const fn index(&self) -> &Arc<FlatIndex> {
        &self.index
    }

    /// Rows of other contracts: enrolled with another model and not comparable with this contract's probes.
    #[must_use]
    pub fn other_contract_rows(&self) -> usize {
        self.live.len().saturating_sub(self.index.len())
    }
}

/// All galleries of this process.
pub struct Galleries {
    store: Arc<dyn Store>,
    pub(crate) snapshots: Option<Snapshots>,
    max_bytes: Option<usize>,
    pool: Arc<Pool>,
    cells: Mutex<HashMap<Space, Arc<Cell>>>,
    clock: AtomicU64,
    /// The latest moment of any search, in milliseconds.
    latest: AtomicI64,
    /// How often everything was let go of.
    pub(crate) generation: Arc<AtomicU64>,
}

impl Galleries {
    /// Galleries on `store`; nothing is read before the first call.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: GalleryOptions) -> Self {
        Self {
            store,
            snapshots: options.snapshots.map(|dir| Snapshots::new(dir, options.keyring)),
            max_bytes: options.max_bytes,
            pool: Arc::new(Pool::new(options.threads)),
            cells: Mutex::default(),
            clock: AtomicU64::new(0),
            latest: AtomicI64::new(i64::MIN),
            generation: Arc::default(),
        }
    }

    /// The collection's gallery, caught up with the store's present revision: what was acknowledged before this call
    /// is found, what was erased before it is not. May be cancelled at any point.
    ///
    /// # Errors
    /// [`GalleryError::CollectionNotFound`]; [`GalleryError::Snapshot`] when erased rows cannot be destroyed;
    /// [`GalleryError::LetGo`] when all galleries were let go of meanwhile; the store's.
    pub async fn current(
        &self,
        tenant: &TenantId,
        collection: &CollectionId,
        contract: ContractId,
    ) -> Result<Arc<CollectionGallery>, GalleryError> {
        let cell = self.cell(tenant, collection);
        cell.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let wanted = cell.source.mark().await?;
        let live = match cell.live() {
            Some(live) if live.mark().is(wanted) => live,
            _ => self.catch_up(&cell).await?,
        };
        let revision = live.revision();
        Ok(Arc::new(CollectionGallery { revision, index: live.index(contract), live }))
    }

    /// The present moment as searches are to take it: never before one that was given already, so that no consent that
    /// has ended comes back when the clock is set back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.not_before(Timestamp::now())
    }

    /// The same by another clock's present moment.
    #[doc(hidden)]
    #[must_use]
    pub fn not_before(&self, now: Timestamp) -> Timestamp {
        let now = now.as_millis();
        Timestamp::from_millis(self.latest.fetch_max(now, Ordering::AcqRel).max(now))
    }

    /// What is in memory.
    #[must_use]
    pub fn stats(&self) -> GalleryStats {
        let live: Vec<Arc<Live>> = self.cells().iter().filter_map(|c| c.live()).collect();
        GalleryStats {
            collections: live.len(),
            rows: live.iter().map(|l| l.len()).sum(),
            bytes: live.iter().map(|l| l.bytes()).sum(),
        }
    }

    /// Applies everything the store has. One caller at a time per collection; the others find it done.
    pub(crate) async fn catch_up(&self, cell: &Arc<Cell>) -> Result<Arc<Live>, GalleryError> {
        let _turn = cell.turn.lock().await;
        let wanted = cell.source.mark().await?;
        let mut live = match cell.live() {
            Some(live) if live.revision() < wanted.revision || live.mark().is(wanted) => live,
            Some(_) => {
                tracing::warn!(collection = %cell.source.collection, "the store went back in time; reading it afresh");
                self.rescan(cell).await?
            }
            None => self.start(cell).await?,
        };
        for _ in 0..ATTEMPTS {
            match self.follow(cell, &live, wanted).await? {
                Some(Step::Gone) => return Err(self.gone(cell).await?),
                Some(_) => live = self.rescan(cell).await?,
                None => {
                    self.evict(cell);
                    return Ok(live);
                }
            }
        }
        Err(GalleryError::Behind)
    }

    /// Follows the feed up to `wanted`; gives the step it could not take.
    async fn follow(&self, cell: &Cell, live: &Arc<Live>, wanted: Mark) -> Result<Option<Step>, GalleryError> {
        while live.revision() < wanted.revision {
            match cell.source.step(live).await? {
                Step::Applied { mark, erased } => {
                    if erased {
                        cell.let_go(self.snapshots.as_ref(), live).await?;
                    }
                    live.advance(mark);
                }
                other => return Ok(Some(other)),
            }
        }
        Ok(None)
    }

    /// A gallery that is not in memory yet: from its snapshot if that is good, else by a scan.
    async fn start(&self, cell: &Arc<Cell>) -> Result<Arc<Live>, GalleryError> {
        if !cell.source.exists().await? {
            return Err(self.gone(cell).await?);
        }
        match cell.load(self.snapshots.as_ref()).await? {
            Some(live) => Ok(live),
            None => self.rescan(cell).await,
        }
    }

    async fn rescan(&self, cell: &Arc<Cell>) -> Result<Arc<Live>, GalleryError> {
        cell.destroy_snapshot(self.snapshots.as_ref()).await?;
        if !cell.source.exists().await? {
            return Err(self.gone(cell).await?);
        }
        let generation = cell.generation();
        cell.install(cell.source.scan(Live::new(&cell.pool)).await?, generation)
    }

    /// Lets go of a collection that is not there; gives the error that says so.
    async fn gone(&self, cell: &Arc<Cell>) -> Result<GalleryError, GalleryError> {
        if let Some(live) = cell.live() {
            live.clear();
            cell.let_go(self.snapshots.as_ref(), &live).await?;
        } else {
            cell.destroy_snapshot(self.snapshots.as_ref()).await?;
        }
        cell.take();
        self.forget(cell);
        Ok(GalleryError::CollectionNotFound(cell.source.collection.clone()))
    }

    /// Drops the least recently searched galleries until the rest fits.
    fn evict(&self, keep: &Arc<Cell>) {
        let Some(max) = self.max_bytes else { return };
        let mut cells = self.cells();
        cells.sort_by_key(|c| c.used.load(Ordering::Relaxed));
        let size = |c: &Arc<Cell>| c.live().map_or(0, |l| l.bytes());
        let mut total: usize = cells.iter().map(size).sum();
        for cell in cells.iter().filter(|c| !Arc::ptr_eq(c, keep)) {
            if total <= max {
                break;
            }
            total = total.saturating_sub(size(cell));
            // Overwriting and freeing a large gallery takes a while.
            let live = cell.take();
            tokio::task::spawn_blocking(move || drop(live));
        }
    }

    pub(crate) fn cell(&self, tenant: &TenantId, collection: &CollectionId) -> Arc<Cell> {
        let space = Space::collection(tenant, collection);
        let mut cells = self.cells.lock();
        let new = || Arc::new(Cell::new(Source::new(&self.store, tenant, collection), &self.generation, &self.pool));
        Arc::clone(cells.entry(space).or_insert_with(new))
    }

    pub(crate) fn cells(&self) -> Vec<Arc<Cell>> {
        self.cells.lock().values().map(Arc::clone).collect()
    }

    pub(crate) fn forget(&self, cell: &Arc<Cell>) {
        self.cells.lock().retain(|_, c| !Arc::ptr_eq(c, cell));
    }
}
