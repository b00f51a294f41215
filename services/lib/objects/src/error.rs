//! What may go wrong with an object. Never tells an object's name or bytes: names hold handles of subjects.

use std::{
    error::Error,
    io::{self, ErrorKind},
    time::Duration,
};

use domain::ErrorCode;

/// Longest reason that is passed on, in characters.
const LONGEST: usize = 160;

/// Why it did not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectsError {
    /// Settings that cannot be used.
    #[error("the object store's settings cannot be used: {0}")]
    Settings(String),
    /// A name that no object can have.
    #[error("an object cannot have this name")]
    Name,
    /// No room is left on the disk.
    #[error("no room is left where the objects lie: {0}")]
    Full(String),
    /// The store is away, full, slow, or refuses.
    #[error("the object store is unavailable: {0}")]
    Unavailable(String),
}

impl ObjectsError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Settings(_) | Self::Name => ErrorCode::Internal,
            Self::Full(_) | Self::Unavailable(_) => ErrorCode::StoreUnavailable,
        }
    }

    /// A disk's error.
    pub(crate) fn disk(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }

    pub(crate) fn late(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {} ms", limit.as_millis()))
    }

    /// The client's error, without addresses, names and what the server wrote.
    pub(crate) fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        Self::Unavailable(match error {
            E::NotFound { .. } => "the bucket or folder is not there".to_owned(),
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => "it refuses these credentials".to_owned(),
            E::NotSupported { .. } | E::NotImplemented { .. } => "it cannot do what is asked".to_owned(),
            other => innermost(other),
        })
    }
}

/// The first cause, which names no object: a system's error or a status.
fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    // After a status comes what the server wrote.
    let first = text.split(['\n', '<', '{']).next().unwrap_or_default().trim_end_matches([' ', ':']);
    first.chars().take(LONGEST).collect()
}
