//! Replacing a key-encryption key: every wrapped data key is wrapped anew, space by space, while the store is in use.
//! Records are not touched. What was done stays done when it is broken off. Called by the binary's command.

use std::collections::BTreeMap;

use seal::{KeyId, Keyring};

use super::{
    SealedStore,
    owner::{NAMES, Owner},
};
use crate::{Commit, Page, Precondition, Space, StoreError};

/// Wrapped keys of one commit.
const BATCH: usize = 500;
/// How often a batch is read afresh that others changed meanwhile.
const ATTEMPTS: usize = 100;

/// What a rotation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Spaces looked through.
    pub spaces: usize,
    /// Data keys wrapped anew.
    pub keys: usize,
}

impl SealedStore {
    /// Wraps every data key with the active key-encryption key. The store's own comes last, and with it the former wraps
    /// are erased from the engine's files.
    ///
    /// # Errors
    /// [`StoreError::Sealing`] when a data key is wrapped with a key that was not given; the engine's.
    pub async fn rewrap(&self) -> Result<Rewrapped, StoreError> {
        let mut done = Rewrapped::default();
        for space in self.all_spaces().await? {
            done.keys += self.rewrap_space(&space).await?;
            done.spaces += 1;
        }
        Ok(done)
    }

    /// How many data keys each key-encryption key wraps.
    ///
    /// # Errors
    /// The engine's.
    pub async fn wrapped_by(&self) -> Result<BTreeMap<KeyId, usize>, StoreError> {
        let mut counts = BTreeMap::new();
        for space in self.all_spaces().await? {
            let mut after = None::<String>;
            loop {
                let page = self.inner.scan(&space, NAMES, after.as_deref(), BATCH).await?;
                for (_, record) in page.records.iter().filter(|(name, _)| Owner::named(name).is_some()) {
                    if let Some(id) = Keyring::wrapper(&record.value) {
                        *counts.entry(id).or_default() += 1;
                    }
                }
                after = page.records.into_iter().next_back().map(|(name, _)| name);
                if !page.more {
                    break;
                }
            }
        }
        Ok(counts)
    }

    /// All spaces, the store's own last.
    async fn all_spaces(&self) -> Result<Vec<Space>, StoreError> {
        let mut spaces = self.inner.spaces().await?;
        spaces.retain(|s| *s != Space::system());
        spaces.push(Space::system());
        Ok(spaces)
    }

    async fn rewrap_space(&self, space: &Space) -> Result<usize, StoreError> {
        let (mut rewrapped, mut after, mut attempts) = (0, None::<String>, 0);
        loop {
            let page = self.inner.scan(space, NAMES, after.as_deref(), BATCH).await?;
            let commit = self.batch(space, &page)?;
            let keys = commit.preconditions.len();
            if keys > 0 {
                match self.inner.commit(space, commit).await {
                    Ok(_) => rewrapped += keys,
                    Err(StoreError::Precondition { .. }) if attempts < ATTEMPTS => {
                        attempts += 1;
                        continue;
                    }
                    Err(e) => return Err(e),
                }
            }
            after = page.records.into_iter().next_back().map(|(name, _)| name);
            if !page.more {
                return Ok(rewrapped);
            }
        }
    }

    /// Those of a page that another key wraps, wrapped anew.
    fn batch(&self, space: &Space, page: &Page) -> Result<Commit, StoreError> {
        let mut commit = Commit::new();
        for (name, record) in &page.records {
            let Some(owner) = Owner::named(name) else { continue };
            if Keyring::wrapper(&record.value) == Some(self.keyring.active()) {
                continue;
            }
            let held = self.unwrap(space, owner, record)?;
            commit = commit.when(Precondition::Unchanged(name.clone(), record.version));
            if *space == Space::system() {
                commit = commit.erase(name);
            }
            commit = commit.put(name, self.wrap(space, owner, &held.key)?);
        }
        Ok(commit)
    }
}
