//! Collections: the record lies in the collection's own space under `meta`, so that enrolment can depend on it;
//! the tenant's space holds a marker per collection for listing. Used by the gateway and the worker.

use std::sync::Arc;

use domain::{Collection, CollectionId, ErrorCode, TenantId, Timestamp};
use tokio::task::JoinSet;

use super::{ATTEMPTS, BATCH, RepoError, Versioned, as_seen, consents, encode, read};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

pub(crate) const META: &str = "meta";
const MARKERS: &str = "collections/";

/// Batches of an emptying under way at once, so that they share what the engine does to erase.
const BATCHES: usize = 64;

/// The collections of every tenant.
#[derive(Clone)]
pub struct Collections {
    pub(super) store: Arc<dyn Store>,
}

impl Collections {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Makes an empty collection. What a broken-off deletion of the same id left behind goes first.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, tenant: &TenantId, collection: &Collection) -> Result<Revision, RepoError> {
        let space = Space::collection(tenant, &collection.id);
        if self.get(tenant, &collection.id).await?.is_some() {
            return Err(RepoError::AlreadyExists("collection"));
        }
        self.note_tenant(tenant).await?;
        // The marker is put anew even if one is there: a deletion still under way then leaves it alone.
        let marker = marker(&collection.id);
        self.store.commit(&Space::tenant(tenant), Commit::new().put(marker, "")).await?;
        let meta = encode(META, collection)?;
        let made = match self.empty(tenant, &collection.id, Commit::new()).await {
            Ok(()) => {
                self.store.commit(&space, Commit::new().when(Precondition::Absent(META.into())).put(META, meta)).await
            }
            Err(e) => Err(e),
        };
        made.map_err(|e| match e {
            StoreError::Precondition { .. } => RepoError::AlreadyExists("collection"),
            e => e.into(),
        })
    }

    /// The collection, unless there is none of this id.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, tenant: &TenantId, id: &CollectionId) -> Result<Option<Versioned<Collection>>, RepoError> {
        Ok(read(&*self.store, &Space::collection(tenant, id), META).await?)
    }

    /// Up to `limit` collections by id, after the id `after`; with the cursor of the next page if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Versioned<Collection>>, Option<String>), RepoError> {
        let space = Space::tenant(tenant);
        let mut after = after.map(|a| format!("{MARKERS}{a}"));
        let mut found: Vec<Versioned<Collection>> = Vec::new();
        loop {
            let want = limit.saturating_sub(found.len());
            let page = self.store.keys(&space, MARKERS, after.as_deref(), want).await?;
            for key in &page.keys {
                // A marker without its record: being made or half deleted, not there either way.
                let Ok(id) = CollectionId::new(&key[MARKERS.len()..]) else { continue };
                found.extend(self.get(tenant, &id).await?);
            }
            after = page.keys.into_iter().next_back().or(after);
            if !page.more || found.len() >= limit {
                let next = page.more.then(|| after.map(|a| a[MARKERS.len()..].to_owned())).flatten();
                return Ok((found, next));
            }
        }
    }

    /// Replaces the record of an existing collection.
    ///
    /// # Errors
    /// Not found; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn update(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        if_version: Option<Revision>,
    ) -> Result<Revision, RepoError> {
        let condition = match if_version {
            Some(v) => Precondition::Unchanged(META.into(), v),
            None => Precondition::Present(META.into()),
        };
        let commit = Commit::new().when(condition).put(META, encode(META, collection)?);
        match self.store.commit(&Space::collection(tenant, &collection.id), commit).await {
            Err(StoreError::Precondition { .. }) => Err(self.gone_or_changed(tenant, &collection.id).await?),
            done => Ok(done?),
        }
    }

    /// Erases the collection and everything in it. Its record goes first, so nothing more can be enrolled; if
    /// this breaks off, deleting or making the same id again finishes it.
    ///
    /// # Errors
    /// Not found; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn delete(
        &self,
        tenant: &TenantId,
        id: &CollectionId,
        if_version: Option<Revision>,
    ) -> Result<(), RepoError> {
        let (space, tenant_space, marker) = (Space::collection(tenant, id), Space::tenant(tenant), marker(id));
        let marked = self.store.get(&tenant_space, &marker).await?.map(|r| r.version);
        let condition = match if_version {
            Some(v) => Precondition::Unchanged(META.into(), v),
            None => Precondition::Present(META.into()),
        };
        // Only deleted here, so as not to wait for its erasure, which comes along with all others.
        let deleted = match self.store.commit(&space, Commit::new().when(condition).delete(META)).await {
            Ok(_) => true,
            Err(StoreError::Precondition { .. }) => match self.gone_or_changed(tenant, id).await? {
                RepoError::NotFound(_) => false,
                e => return Err(e),
            },
            Err(e) => return Err(e.into()),
        };
        match self.empty(tenant, id, Commit::new().erase(META)).await {
            // Made anew meanwhile: the new one is not ours to touch.
            Err(StoreError::Precondition { .. }) => return Ok(()),
            done => done?,
        }
        if !deleted {
            return Err(RepoError::NotFound(ErrorCode::CollectionNotFound));
        }
        let unmark = Commit::new().when(as_seen(&marker, marked)).delete(&marker);
        match self.store.commit(&tenant_space, unmark).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes the record of the collection made at `made_at` away, so that nothing more can be enrolled; its contents stay
    /// for [`Collections::clear`]. Whether it is away now: another may have been made under its id.
    ///
    /// # Errors
    /// The store's.
    pub async fn close(&self, tenant: &TenantId, id: &CollectionId, made_at: Timestamp) -> Result<bool, RepoError> {
        let space = Space::collection(tenant, id);
        for _ in 0..ATTEMPTS {
            let Some(found) = self.get(tenant, id).await? else { return Ok(true) };
            if found.value.created_at != made_at {
                return Ok(false);
            }
            let commit = Commit::new().when(Precondition::Unchanged(META.into(), found.version)).delete(META);
            match self.store.commit(&space, commit).await {
                Ok(_) => return Ok(true),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// Erases everything in the space of a collection that was closed. One that was made anew meanwhile was emptied then
    /// and is left alone.
    ///
    /// # Errors
    /// The store's.
    pub async fn clear(&self, tenant: &TenantId, id: &CollectionId) -> Result<(), RepoError> {
        let (tenant_space, marker) = (Space::tenant(tenant), marker(id));
        let marked = self.store.get(&tenant_space, &marker).await?.map(|r| r.version);
        match self.empty(tenant, id, Commit::new().erase(META)).await {
            Err(StoreError::Precondition { .. }) => return Ok(()),
            done => done?,
        }
        match self.store.commit(&tenant_space, Commit::new().when(as_seen(&marker, marked)).delete(&marker)).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// How many keys are left in the space of a collection that is not there; 0 where there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn left(&self, tenant: &TenantId, id: &CollectionId) -> Result<u64, RepoError> {
        if self.get(tenant, id).await?.is_some() {
            return Ok(0);
        }
        Ok(super::all_keys(&*self.store, &Space::collection(tenant, id), "").await?.len() as u64)
    }

    /// Erases all that is left in the space of a collection without record, along with `also`.
    async fn empty(&self, tenant: &TenantId, id: &CollectionId, also: Commit) -> Result<(), StoreError> {
        let space = Space::collection(tenant, id);
        let (mut under_way, mut after, mut also) = (JoinSet::new(), None::<String>, Some(also));
        loop {
            let left = self.store.keys(&space, "", after.as_deref(), BATCH).await?;
            if left.keys.is_empty() && after.is_none() && also.as_ref().is_none_or(|c| c.ops.is_empty()) {
                return Ok(());
            }
            after = left.keys.last().cloned().filter(|_| left.more);
            let (this, tenant, space) = (self.clone(), tenant.clone(), space.clone());
            let batch = also.take().unwrap_or_default();
            under_way.spawn(async move { this.erase_batch(&tenant, &space, batch, &left.keys).await });
            // At the end of the keys once more from the start, for what came meanwhile.
            while under_way.len() >= if after.is_some() { BATCHES } else { 1 } {
                let Some(done) = under_way.join_next().await else { break };
                done.map_err(|e| StoreError::Unavailable(e.to_string()))??;
            }
        }
    }

    async fn erase_batch(
        &self,
        tenant: &TenantId,
        space: &Space,
        batch: Commit,
        keys: &[String],
    ) -> Result<(), StoreError> {
        let batch = batch.when(Precondition::Absent(META.into()));
        self.store.commit(space, keys.iter().fold(batch, Commit::erase)).await?;
        // Only after: if the collection was made anew meanwhile, these would be its entries.
        let unindex = keys.iter().filter_map(|k| consents::index_key_of(k)).fold(Commit::new(), Commit::delete);
        if !unindex.ops.is_empty() {
            self.store.commit(&Space::tenant(tenant), unindex).await?;
        }
        Ok(())
    }

    async fn gone_or_changed(&self, tenant: &TenantId, id: &CollectionId) -> Result<RepoError, RepoError> {
        Ok(match self.get(tenant, id).await? {
            Some(_) => RepoError::VersionMismatch,
            None => RepoError::NotFound(ErrorCode::CollectionNotFound),
        })
    }
}

fn marker(id: &CollectionId) -> String {
    format!("{MARKERS}{id}")
}
