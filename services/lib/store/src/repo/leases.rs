//! Leases on what only one process is to do at a time, such as the sweep. In the system space; by the clocks of those
//! who take them, so a lease orders work that does no harm when two do it. Used by the gateway.

use std::{sync::Arc, time::Duration};

use domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RepoError, as_seen, encode, read};
use crate::{Commit, Space, Store, StoreError};

/// Who holds it, and until when.
#[derive(Serialize, Deserialize)]
struct Held {
    holder: String,
    until: Timestamp,
}

/// A lease as one process asks for it.
#[derive(Clone)]
pub struct Lease {
    store: Arc<dyn Store>,
    key: String,
    holder: String,
    length: Duration,
}

impl Lease {
    /// On `name`, for `holder`, `length` at a time; nothing is taken yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, name: &str, holder: &str, length: Duration) -> Self {
        Self { store, key: format!("lease/{name}"), holder: holder.to_owned(), length }
    }

    /// Takes the lease, or takes it for longer. False when somebody else holds it.
    ///
    /// # Errors
    /// The store's.
    pub async fn take(&self, now: Timestamp) -> Result<bool, RepoError> {
        let space = Space::system();
        let held = read::<Held>(&*self.store, &space, &self.key).await?;
        let others = held.as_ref().is_some_and(|h| h.value.holder != self.holder && h.value.until > now);
        // A holder whose clock was ahead does not keep it for ever.
        let sane = held.as_ref().is_none_or(|h| h.value.until <= now.plus(self.length.saturating_mul(10)));
        if others && sane {
            return Ok(false);
        }
        let mine = Held { holder: self.holder.clone(), until: now.plus(self.length) };
        let condition = as_seen(&self.key, held.map(|h| h.version));
        let commit = Commit::new().when(condition).put(&self.key, encode(&self.key, &mine)?);
        match self.store.commit(&space, commit).await {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Gives it back, if it is held.
    ///
    /// # Errors
    /// The store's.
    pub async fn give_back(&self) -> Result<(), RepoError> {
        let space = Space::system();
        let Some(held) = read::<Held>(&*self.store, &space, &self.key).await? else { return Ok(()) };
        if held.value.holder != self.holder {
            return Ok(());
        }
        let commit = Commit::new().when(as_seen(&self.key, Some(held.version))).delete(&self.key);
        match self.store.commit(&space, commit).await {
            Ok(_) | Err(StoreError::Precondition { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
