//! Where the server is and how long it may take. Built by the binary from its settings.

use std::{fmt, path::PathBuf, time::Duration};

/// Options of a [`crate::Link`].
#[derive(Clone, PartialEq, Eq)]
pub struct LinkOptions {
    /// `redis://user:password@host:6379/db`, `rediss://` (TLS), `redis-sentinel://h1:26379,h2:26379/service/db`,
    /// `redis-cluster://h1:6379,h2:6379`; the latter two with `s` after `redis` for TLS. User and password are the
    /// server's; sentinels that ask for some get them by `?sentinel_user=…&sentinel_password=…`. Holds passwords:
    /// never shown.
    pub url: String,
    /// First part of every key.
    pub prefix: String,
    /// Certificates to trust, PEM; the system's without.
    pub tls_ca: Option<PathBuf>,
    /// Own certificate and key, PEM, where the server asks for one.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
    /// Longest time to connect, TLS and login included.
    pub connect_timeout: Duration,
    /// Longest time for an answer.
    pub response_timeout: Duration,
    /// Most connections in the pool; those that block are their own.
    pub connections: usize,
}

impl LinkOptions {
    /// Documented defaults for this address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "vv".into(),
            tls_ca: None,
            tls_identity: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            connections: 32,
        }
    }
}

/// Without the password.
impl fmt::Debug for LinkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOptions").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
