//! A real store that can be made unreachable.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use store::{
    StoreError,
    tapped::{Asked, Tap},
};

/// Set: nothing is answered.
pub struct Fragile(pub Arc<AtomicBool>);

#[async_trait]
impl Tap for Fragile {
    async fn before(&self, _: Asked<'_>) -> Result<(), StoreError> {
        if self.0.load(Ordering::SeqCst) { Err(StoreError::Unavailable("unplugged".into())) } else { Ok(()) }
    }
}
