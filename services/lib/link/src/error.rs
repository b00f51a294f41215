//! What may go wrong between a process and its server.

/// Why a call to the server failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// An address, or TLS files, that cannot be used. Trying again does not help.
    #[error("{0}")]
    Address(String),
    /// The server is away, does not answer in time, is loading, read-only or failing over. Trying again may help; whether
    /// a write took effect is not known.
    #[error("{0}")]
    Unavailable(String),
    /// The server has no memory left for writes (`maxmemory` with `noeviction`).
    #[error("the server has no memory left")]
    Full,
    /// The server refused: wrong credentials, missing permissions, unknown command.
    #[error("{0}")]
    Refused(String),
}

impl From<redis::RedisError> for LinkError {
    fn from(e: redis::RedisError) -> Self {
        use redis::{ErrorKind, ServerErrorKind};
        match e.kind() {
            _ if e.code() == Some("OOM") => Self::Full,
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                Self::Refused(e.to_string())
            }
            _ if matches!(e.code(), Some("NOAUTH" | "WRONGPASS")) => Self::Refused(e.to_string()),
            _ => Self::Unavailable(e.to_string()),
        }
    }
}
