//! A store with somebody at the line: what is asked of it can be counted, refused or held up, and reaches the store
//! behind it as it was asked. For tests, with the feature `conformance`.

use std::sync::Arc;

use async_trait::async_trait;
use domain::Timestamp;

use crate::{Changes, Commit, Durability, Keys, Mark, Page, Record, Revision, Space, Store, StoreError};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// One record, or several, each told by itself.
    Get(&'a Space, &'a str),
    /// Records under a prefix.
    Scan(&'a Space, &'a str),
    /// Keys under a prefix.
    Keys(&'a Space, &'a str),
    /// A commit.
    Commit(&'a Space, &'a Commit),
    /// Where a space stands.
    Revision(&'a Space),
    /// The change feed.
    Changes(&'a Space),
    /// All spaces, the sweep of what has expired, or whether the engine answers.
    Whole,
}

/// Who is at the line.
#[async_trait]
pub trait Tap: Send + Sync + 'static {
    /// Before a question is passed on.
    ///
    /// # Errors
    /// What the asking one hears instead of an answer.
    async fn before(&self, asked: Asked<'_>) -> Result<(), StoreError> {
        let _ = asked;
        Ok(())
    }

    /// When records were scanned, before they are given. Some may be taken out, as if they had gone meanwhile.
    async fn scanned(&self, space: &Space, prefix: &str, page: &mut Page) {
        let _ = (space, prefix, page);
    }
}

/// Passes everything on.
pub struct Tapped<T> {
    store: Arc<dyn Store>,
    /// Who is at the line.
    pub tap: T,
}

impl<T: Tap> Tapped<T> {
    /// Over a store.
    pub fn new(store: Arc<dyn Store>, tap: T) -> Arc<Self> {
        Arc::new(Self { store, tap })
    }

    async fn pass<R>(
        &self,
        asked: Asked<'_>,
        answer: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        self.tap.before(asked).await?;
        answer.await
    }
}

#[async_trait]
impl<T: Tap> Store for Tapped<T> {
    async fn get(&self, space: &Space, key: &str) -> Result<Option<Record>, StoreError> {
        self.pass(Asked::Get(space, key), self.store.get(space, key)).await
    }

    async fn get_many(&self, space: &Space, keys: &[String]) -> Result<Vec<Option<Record>>, StoreError> {
        for key in keys {
            self.tap.before(Asked::Get(space, key)).await?;
        }
        self.store.get_many(space, keys).await
    }

    async fn scan(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        let mut page = self.pass(Asked::Scan(space, prefix), self.store.scan(space, prefix, after, limit)).await?;
        self.tap.scanned(space, prefix, &mut page).await;
        Ok(page)
    }

    async fn keys(&self, space: &Space, prefix: &str, after: Option<&str>, limit: usize) -> Result<Keys, StoreError> {
        self.pass(Asked::Keys(space, prefix), self.store.keys(space, prefix, after, limit)).await
    }

    async fn commit(&self, space: &Space, commit: Commit) -> Result<Revision, StoreError> {
        self.tap.before(Asked::Commit(space, &commit)).await?;
        self.store.commit(space, commit).await
    }

    async fn revision(&self, space: &Space) -> Result<Revision, StoreError> {
        self.pass(Asked::Revision(space), self.store.revision(space)).await
    }

    async fn mark(&self, space: &Space) -> Result<Mark, StoreError> {
        self.pass(Asked::Revision(space), self.store.mark(space)).await
    }

    async fn changes(&self, space: &Space, after: Revision, limit: usize) -> Result<Changes, StoreError> {
        self.pass(Asked::Changes(space), self.store.changes(space, after, limit)).await
    }

    async fn spaces(&self) -> Result<Vec<Space>, StoreError> {
        self.pass(Asked::Whole, self.store.spaces()).await
    }

    fn durability(&self) -> Durability {
        self.store.durability()
    }

    async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.pass(Asked::Whole, self.store.sweep(now)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.pass(Asked::Whole, self.store.check()).await
    }

    fn engine(&self) -> &'static str {
        self.store.engine()
    }
}
