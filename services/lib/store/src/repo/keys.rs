//! API keys, in the system space because a request is matched to its tenant by its key. Used by the gateway.

use std::{sync::Arc, time::Duration};

use domain::{ApiKey, ErrorCode, FormerSecret, KeyId, TenantId, Timestamp};

use super::{BATCH, RepoError, Versioned, encode, read, versioned};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const PREFIX: &str = "key/";

/// A key's new secret.
#[derive(Clone)]
pub struct Rotation {
    /// SHA-256 of the new secret, hex.
    pub secret_sha256: String,
    /// When it is changed.
    pub now: Timestamp,
    /// How long the present secret is accepted beside it; the one before that is not any more.
    pub grace: Duration,
}

/// The API keys of every tenant.
#[derive(Clone)]
pub struct ApiKeys {
    store: Arc<dyn Store>,
}

impl ApiKeys {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, api_key: &ApiKey) -> Result<Revision, RepoError> {
        let key = key(&api_key.id);
        let commit = Commit::new().when(Precondition::Absent(key.clone())).put(&key, encode(&key, api_key)?);
        match self.store.commit(&Space::system(), commit).await {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("key")),
            done => Ok(done?),
        }
    }

    /// The key of this id, expired or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &KeyId) -> Result<Option<Versioned<ApiKey>>, RepoError> {
        Ok(read(&*self.store, &Space::system(), &key(id)).await?)
    }

    /// Whether there is no key of any tenant: then the first one is still to be made.
    ///
    /// # Errors
    /// The store's.
    pub async fn is_empty(&self) -> Result<bool, RepoError> {
        Ok(self.store.keys(&Space::system(), PREFIX, None, 1).await?.keys.is_empty())
    }

    /// Up to `limit` keys of `tenant` by id, after the id `after`; with the cursor of the next page if there is
    /// one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Versioned<ApiKey>>, Option<String>), RepoError> {
        let mut after = after.map(|a| format!("{PREFIX}{a}"));
        let mut found: Vec<Versioned<ApiKey>> = Vec::new();
        loop {
            let page = self.store.scan(&Space::system(), PREFIX, after.as_deref(), BATCH).await?;
            for (key, record) in &page.records {
                let one: Versioned<ApiKey> = versioned(key, record)?;
                if one.value.tenant != *tenant {
                    continue;
                }
                if found.len() >= limit {
                    let next = found.last().map(|k| k.value.id.to_string());
                    return Ok((found, next));
                }
                found.push(one);
            }
            after = page.records.into_iter().next_back().map(|(k, _)| k).or(after);
            if !page.more {
                return Ok((found, None));
            }
        }
    }

    /// Replaces a key's secret.
    ///
    /// # Errors
    /// Key not found (also when it belongs to another tenant), [`RepoError::VersionMismatch`] when it is being
    /// changed at the same time.
    pub async fn rotate(
        &self,
        tenant: &TenantId,
        id: &KeyId,
        rotation: Rotation,
    ) -> Result<Versioned<ApiKey>, RepoError> {
        let Rotation { secret_sha256, now, grace } = rotation;
        let (key, mut found) = (key(id), self.of_tenant(tenant, id).await?);
        let former = std::mem::replace(&mut found.value.secret_sha256, secret_sha256);
        let until = now.plus(grace);
        found.value.former = (until > now).then_some(FormerSecret { secret_sha256: former, until });
        found.value.rotated_at = Some(now);
        let unchanged = Precondition::Unchanged(key.clone(), found.version);
        // Hashes that are of no more use are erased, not only replaced.
        let commit = Commit::new().when(unchanged).erase(&key).put(&key, encode(&key, &found.value)?);
        match self.store.commit(&Space::system(), commit).await {
            Ok(version) => Ok(Versioned { version, ..found }),
            Err(StoreError::Precondition { .. }) => Err(RepoError::VersionMismatch),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes a key for good.
    ///
    /// # Errors
    /// Key not found, also when it belongs to another tenant.
    pub async fn delete(&self, tenant: &TenantId, id: &KeyId) -> Result<(), RepoError> {
        let key = key(id);
        self.of_tenant(tenant, id).await?;
        let commit = Commit::new().when(Precondition::Present(key.clone())).erase(&key);
        match self.store.commit(&Space::system(), commit).await {
            Ok(_) => Ok(()),
            Err(StoreError::Precondition { .. }) => Err(RepoError::NotFound(ErrorCode::KeyNotFound)),
            Err(e) => Err(e.into()),
        }
    }

    async fn of_tenant(&self, tenant: &TenantId, id: &KeyId) -> Result<Versioned<ApiKey>, RepoError> {
        let found = self.get(id).await?.filter(|k| k.value.tenant == *tenant);
        found.ok_or(RepoError::NotFound(ErrorCode::KeyNotFound))
    }
}

fn key(id: &KeyId) -> String {
    format!("{PREFIX}{id}")
}
