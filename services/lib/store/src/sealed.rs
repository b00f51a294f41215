//! A store that seals every value before its engine sees it: those of a subject under the subject's data key, all others
//! under their space's. The data keys lie beside the records, wrapped by a key-encryption key. Opened by the binary over
//! either engine; to its callers it is a store like any other.
//!
//! Destroying a wrapped key makes everything it sealed unreadable, wherever copies lie; what is left under a destroyed
//! key reads as absent. A commit that writes under a key holds only while that key's record is unchanged, so nobody
//! writes under a destroyed one.

mod cache;
mod owner;
mod read;
mod rotate;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use domain::Timestamp;
use seal::{DataKey, Keyring, SealError};

use crate::{
    Change, Changes, Commit, Durability, Keys, Mark, Page, Precondition, Record, Revision, Space, Store, StoreError,
};
use cache::{Cache, Held};
use owner::Owner;
pub use rotate::Rewrapped;

/// Data keys held in memory, unwrapped: some ten megabytes at most.
const KEYS_HELD: usize = 1 << 16;

/// A store with everything in it sealed.
pub struct SealedStore {
    inner: Arc<dyn Store>,
    keyring: Arc<Keyring>,
    cache: Cache,
}

impl SealedStore {
    /// Over `inner`, which is either empty or was sealed with one of these keys.
    ///
    /// # Errors
    /// [`StoreError::Sealing`] when the keys are not this store's, or the store holds records that are not sealed;
    /// nothing is changed then. The engine's.
    pub async fn open(inner: Arc<dyn Store>, keyring: Arc<Keyring>) -> Result<Self, StoreError> {
        let (system, name) = (Space::system(), Owner::Space.name());
        let store = Self { inner, keyring, cache: Cache::new(KEYS_HELD) };
        // Two processes may be the first at once: the second finds the key of the other.
        for _ in 0..2 {
            if let Some(record) = store.inner.get(&system, &name).await? {
                store.unwrap(&system, Owner::Space, &record).map_err(|e| store.explain(e))?;
                return Ok(store);
            }
            if !store.inner.keys(&system, "", None, 1).await?.keys.is_empty() {
                return Err(StoreError::Sealing(
                    "this store holds records that are not sealed. Set sealing.mode = \"off\" to go on as before, or \
                     begin with an empty store"
                        .into(),
                ));
            }
            let key = DataKey::generate().map_err(|e| sealing(&e))?;
            let commit = Commit::new().when(Precondition::Absent(name.clone()));
            match store.inner.commit(&system, commit.put(&name, store.wrap(&system, Owner::Space, &key)?)).await {
                Ok(_) | Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Err(StoreError::Unavailable("the store's own key is gone right after it was made".into()))
    }

    /// Makes sure that a store that is to be used without sealing is not sealed.
    ///
    /// # Errors
    /// [`StoreError::Sealing`] when it is; the engine's.
    pub async fn refuse_sealed(store: &dyn Store) -> Result<(), StoreError> {
        let Some(record) = store.get(&Space::system(), &Owner::Space.name()).await? else { return Ok(()) };
        let key = Keyring::wrapper(&record.value).map_or_else(String::new, |id| format!(" {id}"));
        let advice = "set sealing.mode = \"on\" and give that key";
        Err(StoreError::Sealing(format!("this store is sealed with the key-encryption key{key}: {advice}")))
    }

    fn wrap(&self, space: &Space, owner: Owner, key: &DataKey) -> Result<Vec<u8>, StoreError> {
        self.keyring.wrap(key, &place(space, &owner.name())).map_err(|e| sealing(&e))
    }

    fn unwrap(&self, space: &Space, owner: Owner, record: &Record) -> Result<Held, StoreError> {
        let name = owner.name();
        let key = self.keyring.unwrap(&record.value, &place(space, &name)).map_err(|e| match e {
            SealError::UnknownKey(_) => sealing(&e),
            e => StoreError::Damaged { key: name, reason: e.to_string() },
        })?;
        Ok(Held { key, version: record.version })
    }

    /// The same error with what a person can do about it.
    fn explain(&self, e: StoreError) -> StoreError {
        let StoreError::Sealing(why) = e else { return e };
        let given: Vec<String> = self.keyring.ids().map(|id| id.to_string()).collect();
        let advice = "Give the key-encryption key that this store was sealed with, where the others get theirs from or \
                      from its backup: without it the records cannot be read by anybody. Nothing has been changed";
        StoreError::Sealing(format!("the store's own key does not open: {why} ({}). {advice}", given.join(", ")))
    }
}

/// What a value is bound to: the place it lies at.
fn place(space: &Space, key: &str) -> Vec<u8> {
    seal::context(&["record", space.as_str(), key])
}

fn sealing(e: &SealError) -> StoreError {
    StoreError::Sealing(e.to_string())
}

#[async_trait]
impl Store for SealedStore {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        self.read(space, key).await
    }

    async fn get_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        self.read_many(space, keys).await
    }

    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.read_range(space, prefix, after, limit).await
    }

    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        self.range_of_keys(space, prefix, after, limit).await
    }

    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        self.write(space, commit).await
    }

    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        self.inner.revision(space).await
    }

    async fn mark(&self, space: &Space) -> Result<Mark, StoreError> {
        self.inner.mark(space).await
    }

    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        let Changes::Since(changes) = self.inner.changes(space, after, limit).await? else {
            return Ok(Changes::Trimmed);
        };
        let visible = |change: Change| {
            let keys = change.keys.into_iter().filter(|key| match Owner::named(key) {
                Some(owner) => {
                    // Destroyed or wrapped anew by another process: not held on to any longer.
                    self.cache.remove(space, owner);
                    false
                }
                None => true,
            });
            Change { keys: keys.collect(), ..change }
        };
        Ok(Changes::Since(changes.into_iter().map(visible).collect()))
    }

    async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        self.inner.spaces().await
    }

    fn durability(&self) -> Durability {
        self.inner.durability()
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.inner.sweep(now).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }

    fn engine(&self) -> &'static str {
        self.inner.engine()
    }
}

/// Shows which keys, not the keys.
impl std::fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (engine, keys) = (self.inner.engine(), &self.keyring);
        f.debug_struct("SealedStore").field("engine", &engine).field("keys", keys).finish_non_exhaustive()
    }
}

/// The record with its value opened; nothing where another key sealed it.
fn open(space: &Space, key: &str, held: &Held, record: Record) -> Result<Option<Record>, StoreError> {
    match held.key.open(&place(space, key), &record.value) {
        Ok(value) => Ok(Some(Record { value: value.into(), version: record.version })),
        Err(SealError::UnknownKey(_)) => Ok(None),
        Err(e) => Err(StoreError::Damaged { key: key.to_owned(), reason: e.to_string() }),
    }
}
