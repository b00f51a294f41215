//! A store whose first look at the mark of the place is overtaken by another process, which begins and is done meanwhile.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use domain::Timestamp;
use store::{Changes, Commit, Durability, Page, Record, Revision, Space, Store, StoreError};

pub struct Hesitant {
    pub inner: Arc<dyn Store>,
    /// Where the other process keeps its objects.
    pub place: PathBuf,
    pub overtaken: AtomicBool,
}

#[async_trait]
impl Store for Hesitant {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        if key == "objects" && !self.overtaken.swap(true, Ordering::SeqCst) {
            drop(super::open_at(&self.inner, &self.place).await.unwrap());
        }
        self.inner.get(space, key).await
    }
    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        self.inner.scan(space, prefix, after, limit).await
    }
    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        self.inner.commit(space, commit).await
    }
    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        self.inner.revision(space).await
    }
    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.inner.changes(space, after, limit).await
    }
    fn durability(&self) -> Durability {
        self.inner.durability()
    }
    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.inner.sweep(now).await
    }
    fn engine(&self) -> &'static str {
        self.inner.engine()
    }
    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}
