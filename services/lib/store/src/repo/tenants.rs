//! Which tenants there are: for what is done for all of them, such as the sweep of what is kept too long. A tenant is
//! noted when it makes a collection; older stores tell theirs by their API keys. Used by the gateway.

use std::collections::BTreeSet;

use domain::{ApiKey, TenantId};

use super::{BATCH, Collections, RepoError, versioned};
use crate::{Commit, Space};

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

    /// Every tenant that may have collections.
    ///
    /// # Errors
    /// The store's.
    pub async fn tenants(&self) -> Result<BTreeSet<TenantId>, RepoError> {
        let (space, mut found) = (Space::system(), BTreeSet::new());
        for prefix in [NOTED, KEYS] {
            let mut after = None::<String>;
            loop {
                let page = self.store.scan(&space, prefix, after.as_deref(), BATCH).await?;
                for (key, record) in &page.records {
                    if prefix == NOTED {
                        found.extend(TenantId::new(&key[NOTED.len()..]));
                    } else {
                        found.insert(versioned::<ApiKey>(key, record)?.value.tenant);
                    }
                }
                after = page.records.into_iter().next_back().map(|(key, _)| key).or(after);
                if !page.more {
                    break;
                }
            }
        }
        Ok(found)
    }
}
