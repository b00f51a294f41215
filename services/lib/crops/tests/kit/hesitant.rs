//! A store whose first look at the mark of the place is overtaken by another process, which begins and is done meanwhile.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use store::{
    Store, StoreError,
    tapped::{Asked, Tap},
};

pub struct Hesitant {
    /// What the other process uses.
    pub store: Arc<dyn Store>,
    /// Where the other process keeps its objects.
    pub place: PathBuf,
    pub overtaken: AtomicBool,
}

#[async_trait]
impl Tap for Hesitant {
    async fn before(&self, asked: Asked<'_>) -> Result<(), StoreError> {
        if matches!(asked, Asked::Get(_, "objects")) && !self.overtaken.swap(true, Ordering::SeqCst) {
            drop(super::open_at(&self.store, &self.place).await.unwrap());
        }
        Ok(())
    }
}
