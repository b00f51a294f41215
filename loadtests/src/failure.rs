//! Why nothing could be measured: one sentence for a person.

use std::path::Path;

/// A command that came to nothing. The process ends with 2.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file that cannot be used.
    #[error("{0}")]
    File(String),
    /// An answer that was not to be expected.
    #[error("{0}")]
    Service(String),
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A file that cannot be read, written or understood.
    pub fn file(path: &Path, why: &dyn std::fmt::Display) -> Self {
        Self::File(format!("{}: {why}", path.display()))
    }
}
