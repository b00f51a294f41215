//! What may go wrong with a registered model.

use domain::ErrorCode;
use models::ModelError;
use objects::ObjectsError;
use seal::SealError;
use store::RepoError;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// What was brought cannot serve.
    #[error("the model cannot be used: {0}")]
    Unfit(String),
    /// Another model has this id.
    #[error("another model is registered under this id")]
    Taken,
    /// The record is there, the file is not.
    #[error("the model's file is not where models are kept")]
    Gone,
    /// A manifest that does not read back.
    #[error(transparent)]
    Manifest(#[from] ModelError),
    /// The objects' place.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] RepoError),
    /// An object that does not open.
    #[error("the model's file cannot be read: {0}")]
    Seal(#[from] SealError),
    /// The process ends.
    #[error("the work was broken off")]
    Interrupted,
}

impl RegistryError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Unfit(_) => ErrorCode::InvalidRequest,
            Self::Taken => ErrorCode::Conflict,
            Self::Gone | Self::Interrupted => ErrorCode::ModelNotReady,
            Self::Manifest(_) => ErrorCode::Internal,
            Self::Objects(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Seal(e) => e.code(),
        }
    }
}
