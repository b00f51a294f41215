//! A real store that can be made unreachable.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use store::{Changes, Commit, Durability, Keys, Page, Record, RedbStore, Revision, Space, Store, StoreError};

pub struct Fragile {
    pub inner: RedbStore,
    pub away: Arc<AtomicBool>,
}

impl Fragile {
    fn reach(&self) -> Result<&RedbStore, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("unplugged".into()));
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl Store for Fragile {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        self.reach()?.get(space, key).await
    }
    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.reach()?.scan(space, prefix, after, limit).await
    }
    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        self.reach()?.keys(space, prefix, after, limit).await
    }
    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        self.reach()?.commit(space, commit).await
    }
    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        self.reach()?.revision(space).await
    }
    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.reach()?.changes(space, after, limit).await
    }
    fn durability(&self) -> Durability {
        self.inner.durability()
    }
    async fn sweep(&self, now: domain::Timestamp) -> Result<usize, StoreError> {
        self.reach()?.sweep(now).await
    }
    fn engine(&self) -> &'static str {
        self.inner.engine()
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.reach()?.check().await
    }
}
