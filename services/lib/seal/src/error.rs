//! Why something could not be sealed or opened. Never says what was in it, nor any byte of a key.

use domain::ErrorCode;

use crate::KeyId;

/// Why it did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Text that should hold key-encryption keys does not.
    #[error("line {0} of the key-encryption keys is not 32 bytes in hexadecimal or base64")]
    KeyText(usize),
    /// Text that should hold key-encryption keys holds none.
    #[error("there is no key-encryption key: one a line is expected, 32 bytes in hexadecimal or base64")]
    NoKey,
    /// The same key-encryption key twice.
    #[error("line {0} of the key-encryption keys repeats an earlier one")]
    Repeated(usize),
    /// Sealed with a key that was not given.
    #[error("it is sealed with the key {0}, which is not among those given")]
    UnknownKey(KeyId),
    /// Changed, or sealed for another place.
    #[error("its seal is broken")]
    Broken,
    /// Not sealed at all, or by a later version.
    #[error("it is not sealed in a form this version knows")]
    Form,
    /// More than one seal can hold.
    #[error("it is too large to be sealed")]
    TooLarge,
    /// The system gives no random bytes.
    #[error("no randomness: {0}")]
    Randomness(String),
}

impl SealError {
    /// The code a caller of the service sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownKey(_) | Self::Randomness(_) => ErrorCode::StoreUnavailable,
            _ => ErrorCode::Internal,
        }
    }
}
