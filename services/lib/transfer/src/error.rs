//! What may be wrong with an export file or its key. Never shows what a line holds, nor a key.

use domain::ErrorCode;
use seal::SealError;

use crate::VERSION;

/// Why a file cannot be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Not 32 bytes in hexadecimal.
    #[error("an export key is 32 random bytes in hexadecimal, 64 digits")]
    KeyForm,
    /// Text where randomness should be.
    #[error("this export key is not random; make one with `openssl rand -hex 32`")]
    KeyWeak,
    /// The first line is not an export's.
    #[error("this is not an export: its first line is not the header of one")]
    NotAnExport,
    /// Written by a later release.
    #[error("the export has version {0}; this release reads version {VERSION}")]
    Version(u32),
    /// Sealed with another key.
    #[error("the export is sealed with the key {sealed_with}, and the key given is {given}")]
    OtherKey {
        /// Id of the key that opens it.
        sealed_with: String,
        /// Id of the key that was given.
        given: String,
    },
    /// A line does not open.
    #[error("line {0} was changed, moved or removed, or is of another export: its seal is broken")]
    Broken(u64),
    /// A line opens, and what is inside is not what belongs there.
    #[error("line {line} cannot be read: {reason}")]
    Content {
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A line without an end.
    #[error("line {line} is longer than the {limit} bytes that one may have")]
    TooLong {
        /// Which line, from 1.
        line: u64,
        /// The most it may have.
        limit: usize,
    },
    /// The last line is missing.
    #[error("the export is cut off after line {0}: its last line is missing")]
    Cut(u64),
    /// Something follows the last line.
    #[error("something follows the last line of the export, line {0}")]
    Trailing(u64),
    /// The trailer counts other lines than were there.
    #[error("the export says it holds {said} subjects, and {found} were found")]
    Count {
        /// What the trailer says.
        said: u64,
        /// What was read.
        found: u64,
    },
    /// A line cannot be sealed.
    #[error("a line cannot be sealed: {0}")]
    Seal(SealError),
}

impl TransferError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Seal(_) => ErrorCode::Internal,
            Self::TooLong { .. } => ErrorCode::PayloadTooLarge,
            _ => ErrorCode::InvalidRequest,
        }
    }
}
