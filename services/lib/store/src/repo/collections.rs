//! Collections: the record lies in the collection's own space under `meta`, so that enrolment can depend on it;
//! the tenant's space holds a marker per collection for listing. Used by the gateway and the worker.

use std::sync::Arc;

use domain::{Collection, CollectionId, ErrorCode, TenantId};

use super::{BATCH, RepoError, Versioned, as_seen, consents, encode, read};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

pub(super) const META: &str = "meta";
const MARKERS: &str = "collections/";

/// The collections of every tenant.
#[derive(Clone)]
pub struct Collections {
    store: Arc<dyn Store>,
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
        // The marker is put anew even if one is there: a deletion still under way then leaves it alone.
        let marker = marker(&collection.id);
        self.store.commit(&Space::tenant(tenant), Commit::new().put(marker, "")).await?;
        let meta = encode(META, collection)?;
        let made = match self.empty(tenant, &collection.id).await {
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
        let erased = match self.store.commit(&space, Commit::new().when(condition).erase(META)).await {
            Ok(_) => true,
            Err(StoreError::Precondition { .. }) => match self.gone_or_changed(tenant, id).await? {
                RepoError::NotFound(_) => false,
                e => return Err(e),
            },
            Err(e) => return Err(e.into()),
        };
        match self.empty(tenant, id).await {
            // Made anew meanwhile: the new one is not ours to touch.
            Err(StoreError::Precondition { .. }) => return Ok(()),
            done => done?,
        }
        if !erased {
            return Err(RepoError::NotFound(ErrorCode::CollectionNotFound));
        }
        let unmark = Commit::new().when(as_seen(&marker, marked)).erase(&marker);
        match self.store.commit(&tenant_space, unmark).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Erases all that is left in the space of a collection without record.
    async fn empty(&self, tenant: &TenantId, id: &CollectionId) -> Result<(), StoreError> {
        let (space, tenant_space) = (Space::collection(tenant, id), Space::tenant(tenant));
        loop {
            let left = self.store.keys(&space, "", None, BATCH).await?;
            if left.keys.is_empty() {
                return Ok(());
            }
            let absent = Commit::new().when(Precondition::Absent(META.into()));
            self.store.commit(&space, left.keys.iter().fold(absent, Commit::erase)).await?;
            // Only after: if the collection was made anew meanwhile, these would be its entries.
            let unindex = left.keys.iter().filter_map(|k| consents::index_key_of(k)).fold(Commit::new(), Commit::erase);
            if !unindex.ops.is_empty() {
                self.store.commit(&tenant_space, unindex).await?;
            }
        }
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
