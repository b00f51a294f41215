//! Consents of a tenant. The record lies with its subject, so that enrolment and withdrawal are each one commit;
//! the tenant's space holds an index by consent id, written first. Used by the gateway.

use std::sync::Arc;

use domain::{Collection, CollectionId, Consent, ConsentId, ErrorCode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    ATTEMPTS, Pepper, RepoError, SubjectHandle, Versioned, all_keys, all_records, as_seen, collections::META, decode,
    encode, read, subjects::guard_key,
};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const INDEX: &str = "consents/";

/// A consent in a list.
pub type ConsentRow = Versioned<Consent>;

/// What a withdrawal did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The consent, withdrawn.
    pub consent: Versioned<Consent>,
    /// Faces erased with their templates: all of the subject's, unless another consent in force serves one of the
    /// collection's purposes.
    pub faces_erased: usize,
}

#[derive(Serialize, Deserialize)]
struct IndexEntry {
    collection: CollectionId,
    handle: String,
}

/// Where a consent's record lies.
struct Place {
    space: Space,
    handle: SubjectHandle,
    key: String,
}

/// The consents of one tenant.
#[derive(Clone)]
pub struct Consents {
    store: Arc<dyn Store>,
    pepper: Pepper,
    tenant: TenantId,
}

impl Consents {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pepper: Pepper, tenant: TenantId) -> Self {
        Self { store, pepper, tenant }
    }

    /// Records a consent of a subject that is enrolled or will be.
    ///
    /// # Errors
    /// Collection not found.
    pub async fn record(&self, consent: &Consent) -> Result<Revision, RepoError> {
        let space = Space::collection(&self.tenant, &consent.collection_id);
        let h = self.pepper.handle(&self.tenant, &consent.collection_id, &consent.subject_id);
        if self.store.get(&space, META).await?.is_none() {
            return Err(RepoError::NotFound(ErrorCode::CollectionNotFound));
        }
        index(&*self.store, &self.tenant, consent, h).await?;
        let key = consent_key(h, &consent.id);
        let commit = Commit::new()
            .when(Precondition::Present(META.into()))
            .when(Precondition::Absent(key.clone()))
            .put(&key, encode(&key, consent)?)
            .put(guard_key(h), "");
        match self.store.commit(&space, commit).await {
            Err(StoreError::Precondition { key }) if key == META => {
                unindex(&*self.store, &self.tenant, std::slice::from_ref(&consent.id)).await?;
                Err(RepoError::NotFound(ErrorCode::CollectionNotFound))
            }
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("consent")),
            done => Ok(done?),
        }
    }

    /// The consent of this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &ConsentId) -> Result<Option<Versioned<Consent>>, RepoError> {
        let Some(place) = self.place(id).await? else { return Ok(None) };
        Ok(read(&*self.store, &place.space, &place.key).await?)
    }

    /// Up to `limit` consents by id (which sort by time of recording), after the id `after`; with the cursor of
    /// the next page if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<ConsentRow>, Option<String>), RepoError> {
        let after = after.map(|a| format!("{INDEX}{a}"));
        let page = self.store.scan(&Space::tenant(&self.tenant), INDEX, after.as_deref(), limit).await?;
        let mut found = Vec::with_capacity(page.records.len());
        for (key, record) in &page.records {
            let place = self.parse_entry(key, &record.value)?;
            // An entry without record: being written, or its subject was erased.
            found.extend(read(&*self.store, &place.space, &place.key).await?);
        }
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k[INDEX.len()..].to_owned());
        Ok((found, next))
    }

    /// Takes a consent back. In the same commit the subject's faces, templates and stored replies are erased,
    /// unless another consent in force serves one of the collection's purposes. Crops go unless another one allows
    /// training as well. Withdrawing twice changes nothing.
    ///
    /// # Errors
    /// Consent not found.
    pub async fn withdraw(&self, id: &ConsentId, now: Timestamp) -> Result<Withdrawal, RepoError> {
        let not_found = || RepoError::NotFound(ErrorCode::ConsentNotFound);
        let place = self.place(id).await?.ok_or_else(not_found)?;
        let (space, h) = (&place.space, place.handle);
        let guard_key = guard_key(h);
        for _ in 0..ATTEMPTS {
            let guard = self.store.get(space, &guard_key).await?.map(|r| r.version);
            let mut consent = read::<Consent>(&*self.store, space, &place.key).await?.ok_or_else(not_found)?;
            if consent.value.withdrawn_at.is_some() {
                return Ok(Withdrawal { consent, faces_erased: 0 });
            }
            let meta = read::<Collection>(&*self.store, space, META).await?.ok_or_else(not_found)?;
            let others = all_records(&*self.store, space, &format!("n/{h}/")).await?;
            let (mut permitted, mut trains) = (false, false);
            for (key, record) in others.iter().filter(|(key, _)| *key != place.key) {
                let other = decode::<Consent>(key, &record.value)?;
                let serves = other.serves(&meta.value.purposes, now);
                permitted |= serves;
                trains |= serves && meta.value.retain_crops.allows(&other).is_some();
            }
            consent.value.withdrawn_at = Some(now);
            let mut commit = Commit::new()
                .when(Precondition::Unchanged(META.into(), meta.version))
                .when(Precondition::Unchanged(place.key.clone(), consent.version))
                .when(as_seen(&guard_key, guard))
                .put(&place.key, encode(&place.key, &consent.value)?)
                .put(&guard_key, "");
            let mut faces_erased = 0;
            if !permitted {
                for prefix in ["f", "v", "d"] {
                    let keys = all_keys(&*self.store, space, &format!("{prefix}/{h}/")).await?;
                    faces_erased += if prefix == "f" { keys.len() } else { 0 };
                    commit = keys.into_iter().fold(commit, Commit::erase);
                }
            }
            if !trains {
                let crops = all_keys(&*self.store, space, &format!("o/{h}/")).await?;
                commit = crops.into_iter().fold(commit, Commit::erase);
            }
            match self.store.commit(space, commit).await {
                Ok(version) => {
                    consent.version = version;
                    return Ok(Withdrawal { consent, faces_erased });
                }
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    async fn place(&self, id: &ConsentId) -> Result<Option<Place>, RepoError> {
        let key = index_key(id);
        let record = self.store.get(&Space::tenant(&self.tenant), &key).await?;
        record.map(|r| self.parse_entry(&key, &r.value)).transpose()
    }

    fn parse_entry(&self, key: &str, value: &[u8]) -> Result<Place, RepoError> {
        let entry: IndexEntry = decode(key, value)?;
        let handle: SubjectHandle = entry.handle.parse().map_err(|e| super::damaged(key, &e))?;
        let space = Space::collection(&self.tenant, &entry.collection);
        Ok(Place { space, handle, key: format!("n/{handle}/{}", &key[INDEX.len()..]) })
    }
}

pub(super) fn consent_key(h: SubjectHandle, id: &ConsentId) -> String {
    format!("n/{h}/{id}")
}

fn index_key(id: &ConsentId) -> String {
    format!("{INDEX}{id}")
}

/// The index entry of the consent under `key` of a collection's space, if it is one's.
pub(super) fn index_key_of(key: &str) -> Option<String> {
    key.strip_prefix("n/")?.split_once('/').map(|(_, id)| format!("{INDEX}{id}"))
}

/// Makes the consent findable by its id. Comes before the record: an entry without record reads as absent.
pub(super) async fn index(
    store: &dyn Store,
    tenant: &TenantId,
    consent: &Consent,
    h: SubjectHandle,
) -> Result<(), RepoError> {
    let key = index_key(&consent.id);
    let entry = IndexEntry { collection: consent.collection_id.clone(), handle: h.to_string() };
    store.commit(&Space::tenant(tenant), Commit::new().put(&key, encode(&key, &entry)?)).await?;
    Ok(())
}

/// Removes index entries. They hold handles, as keys do, so they need not be erased.
pub(super) async fn unindex(store: &dyn Store, tenant: &TenantId, ids: &[ConsentId]) -> Result<(), RepoError> {
    if !ids.is_empty() {
        store.commit(&Space::tenant(tenant), ids.iter().map(index_key).fold(Commit::new(), Commit::delete)).await?;
    }
    Ok(())
}

/// Like [`index`], unless the id names another consent of the tenant already. Whether it is free or was this one's.
pub(super) async fn claim(
    store: &dyn Store,
    tenant: &TenantId,
    consent: &Consent,
    h: SubjectHandle,
) -> Result<bool, RepoError> {
    let (space, key) = (Space::tenant(tenant), index_key(&consent.id));
    let entry = IndexEntry { collection: consent.collection_id.clone(), handle: h.to_string() };
    let commit = Commit::new().when(Precondition::Absent(key.clone())).put(&key, encode(&key, &entry)?);
    match store.commit(&space, commit).await {
        Err(StoreError::Precondition { .. }) => {
            let there = read::<IndexEntry>(store, &space, &key).await?.map(|e| e.value);
            Ok(there.is_some_and(|e| e.collection == entry.collection && e.handle == entry.handle))
        }
        done => Ok(done.map(|_| true)?),
    }
}
