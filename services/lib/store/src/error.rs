//! What may go wrong between a caller and the store.

use domain::ErrorCode;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; nothing was changed.
    #[error("precondition on {key} does not hold")]
    Precondition {
        /// The key it was about.
        key: String,
    },
    /// A stored record cannot be read back.
    #[error("the record under {key} is damaged: {reason}")]
    Damaged {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk takes no more: it is full, over a quota or read-only. Nothing was acknowledged; the store goes on by
    /// itself once there is room.
    #[error("the disk of the store takes no more: {0}")]
    NoRoom(String),
    /// The engine failed: file locked by another process, server gone, disk broken.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The key-encryption keys of this process and the store do not go together.
    #[error("{0}")]
    Sealing(String),
    /// The records have a form that this program does not know.
    #[error("{0}")]
    Schema(String),
}

impl StoreError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Precondition { .. } => ErrorCode::Conflict,
            Self::Damaged { .. } => ErrorCode::Internal,
            Self::NoRoom(_) | Self::Unavailable(_) | Self::Sealing(_) | Self::Schema(_) => ErrorCode::StoreUnavailable,
        }
    }
}
