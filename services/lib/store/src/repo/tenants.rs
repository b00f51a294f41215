//! Which tenants there are: for what is done for all of them, such as the sweep of what is kept too long. A tenant is
//! noted when it makes a collection; those of older stores when the store is brought forward. Used by the gateway.

use std::collections::BTreeSet;

use domain::{ApiKey, TenantId};

use super::{BATCH, Collections, RepoError, versioned};
use crate::{Commit, Record, Space, StoreError};

const NOTED: &str = "tenants/";
const KEYS: &str = "key/";

impl Collections {
    /// Notes that `tenant` may have collections.
    pub(super) async fn note_tenant(&self, tenant: &TenantId) -> Result<(), RepoError> {
        let (space, key) = (Space::system(), format!("{NOTED}{tenant}"));
        if self.store.get(&space, &key).await?.is_none() {
            self.store.commit(&space, Commit::new().put(key, "")).await?;
        }
        Ok(())
    }

    /// Notes the tenants that an older store knows by their API keys alone.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn note_tenants_of_keys(&self) -> Result<(), RepoError> {
        let mut found = BTreeSet::new();
        self.each(KEYS, |key, record| {
            found.insert(versioned::<ApiKey>(key, record)?.value.tenant);
            Ok(())
        })
        .await?;
        for tenant in &found {
            self.note_tenant(tenant).await?;
        }
        Ok(())
    }

    /// Every tenant that may have collections.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants(&self) -> Result<BTreeSet<TenantId>, RepoError> {
        let mut found = BTreeSet::new();
        self.each(NOTED, |key, _| {
            found.extend(TenantId::new(&key[NOTED.len()..]));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Every record of the system space whose key begins so.
    async fn each(
        &self,
        prefix: &str,
        mut seen: impl FnMut(&str, &Record) -> Result<(), StoreError> + Send,
    ) -> Result<(), RepoError> {
        let (space, mut after) = (Space::system(), None::<String>);
        loop {
            let page = self.store.scan(&space, prefix, after.as_deref(), BATCH).await?;
            for (key, record) in &page.records {
                seen(key, record)?;
            }
            after = page.records.into_iter().next_back().map(|(key, _)| key).or(after);
            if !page.more {
                return Ok(());
            }
        }
    }
}
