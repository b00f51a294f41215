//! What may go wrong with a crop. Names no object and nobody.

use domain::ErrorCode;
use objects::ObjectsError;
use seal::SealError;
use store::{RepoError, StoreError};

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum CropsError {
    /// The objects' place.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] RepoError),
    /// An object that does not open.
    #[error("a crop cannot be read: {0}")]
    Seal(#[from] SealError),
    /// The place holds the objects of another store, or none of this one's.
    #[error(
        "{0} does not hold the objects of this store: every process needs the same place, the one they were begun in"
    )]
    Elsewhere(String),
    /// Another process is about to mark the place at this moment.
    #[error("the place of the objects is being made ready by another process")]
    Beginning,
    /// Nowhere to keep crops.
    #[error("this process keeps no objects: set objects.url, the same for every gateway and worker")]
    Nowhere,
}

impl CropsError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Objects(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Seal(e) => e.code(),
            Self::Elsewhere(_) | Self::Beginning | Self::Nowhere => ErrorCode::StoreUnavailable,
        }
    }
}

impl From<StoreError> for CropsError {
    fn from(e: StoreError) -> Self {
        Self::Store(e.into())
    }
}
