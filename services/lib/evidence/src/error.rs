//! What may be wrong with a piece of evidence.

use domain::ErrorCode;

/// Why a signature, a receipt or a trail is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Not three parts of base64url with JSON in the first two.
    #[error("not a compact JWS: {0}")]
    Malformed(&'static str),
    /// A document of another kind, or of an algorithm that is not accepted.
    #[error("the signed document is not of the kind that is expected here ({expected})")]
    Kind {
        /// The `typ` that is.
        expected: &'static str,
    },
    /// Signed with a key that is not among those given.
    #[error("the key {kid} that signed it is not in the key set")]
    UnknownKey {
        /// Its id.
        kid: String,
    },
    /// Changed after it was signed, or signed by somebody else.
    #[error("the signature does not fit the content: it was changed, or signed by somebody else")]
    Signature,
    /// Signed, but not of the documented form.
    #[error("the signed content does not have the documented form: {0}")]
    Content(String),
    /// A key that cannot be used.
    #[error("the key cannot be used: {0}")]
    Key(&'static str),
    /// A line of a trail that does not fit.
    #[error("line {line}: {fault}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// A trail as a whole.
    #[error("{0}")]
    Trail(String),
}

impl EvidenceError {
    /// The code a caller would see: evidence is made by this service, so what is wrong with it is a defect.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}
