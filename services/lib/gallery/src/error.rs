//! Why a gallery could not answer. Raised by the index and the follower, read by the worker's search stage.

use domain::{CollectionId, ContractId, ErrorCode};
use store::{RepoError, StoreError};

/// Why a gallery could not answer.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// A probe or template with another number of values than the index's rows.
    #[error("the index holds vectors of {expected} values, this one has {got}")]
    Dimension {
        /// Values per row of the index.
        expected: usize,
        /// Values of the vector given.
        got: usize,
    },
    /// A template of another embedding contract than the index's.
    #[error("the index holds templates of contract {expected}, this one is of {got}")]
    Contract {
        /// Contract of the index.
        expected: ContractId,
        /// Contract of the template given.
        got: ContractId,
    },
    /// A vector that is not finite or not of unit length: its scores would be no cosines.
    #[error("the vector is not of unit length")]
    NotUnit,
    /// More rows than slots can be numbered (2³²).
    #[error("the index is full")]
    Full,
    /// The collection does not exist, or does no longer.
    #[error("there is no collection {0}")]
    CollectionNotFound(CollectionId),
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] RepoError),
    /// A snapshot that holds erased rows could not be destroyed; the gallery stays behind until it is.
    #[error("the gallery's snapshot cannot be erased: {0}")]
    Snapshot(#[source] std::io::Error),
    /// The store's feed and its records contradict each other, or change faster than they can be read.
    #[error("the gallery cannot catch up with the store")]
    Behind,
    /// A thread that scanned a part of the rows ended before its time.
    #[error("the search broke off")]
    Broken,
    /// The gallery was let go of while it was used, by [`crate::Galleries::let_go_all`].
    #[error("the gallery was let go of")]
    LetGo,
}

impl From<StoreError> for GalleryError {
    fn from(e: StoreError) -> Self {
        Self::Store(e.into())
    }
}

impl GalleryError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Dimension { .. } | Self::Contract { .. } => ErrorCode::CollectionModelMismatch,
            Self::NotUnit | Self::Full | Self::Broken => ErrorCode::Internal,
            Self::CollectionNotFound(_) => ErrorCode::CollectionNotFound,
            Self::Store(e) => e.code(),
            Self::Snapshot(_) | Self::Behind | Self::LetGo => ErrorCode::StoreUnavailable,
        }
    }
}
