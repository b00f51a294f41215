//! The connection to a Redis or Valkey server, to a Sentinel set or to a cluster: addresses, TLS, a pool of
//! connections, one of its own for calls that block, and what the server says about itself at the start.
//! Used by the Redis engines of the queue and the store, and by nobody else.

mod address;
mod connection;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod options;
mod pool;
mod report;
mod source;

use std::sync::Arc;

use deadpool::{
    Runtime,
    managed::{Pool, PoolError, TimeoutType},
};

pub use connection::Connection;
pub use error::LinkError;
pub use options::LinkOptions;
pub use redis;
pub use report::{Persistence, ServerReport};
pub use source::MAX_BLOCK;

use connection::Kind;
use pool::Manager;
use source::Source;

/// A pool of connections to one server, Sentinel set or cluster. Cheap to clone. Made without connecting.
#[derive(Clone)]
pub struct Link {
    source: Arc<Source>,
    pool: Pool<Manager>,
}

impl Link {
    /// Reads the address and makes the pool; connects to nothing yet, so that a process starts while its server is
    /// away.
    ///
    /// # Errors
    /// [`LinkError::Address`] for a URL or TLS files that cannot be used.
    pub fn new(options: LinkOptions) -> Result<Self, LinkError> {
        let (connect, response, size) = (options.connect_timeout, options.response_timeout, options.connections);
        let source = Arc::new(Source::new(options)?);
        let pool = Pool::builder(Manager::new(Arc::clone(&source)))
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
            .create_timeout(Some(connect))
            .wait_timeout(Some(response))
            .build();
        Ok(Self { source, pool: pool.map_err(|e| LinkError::Address(e.to_string()))? })
    }

    /// First part of every key, so that several installations may share a server.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.source.options().prefix
    }

    /// Whether the other end is a cluster: a script may then touch one slot only, and commands go to nodes by key.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.source.is_cluster()
    }

    /// A connection for calls that answer at once. To have one takes no longer than the response timeout where all are
    /// taken, and twice the connect timeout where the server is silent; each call on it is bounded by the response
    /// timeout.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`], [`LinkError::Refused`] for wrong credentials.
    pub async fn connection(&self) -> Result<Connection, LinkError> {
        let pooled = self.pool.get().await.map_err(|e| match e {
            PoolError::Backend(e) => LinkError::from(e),
            PoolError::Timeout(TimeoutType::Wait) => LinkError::Unavailable("all connections are taken".into()),
            PoolError::Timeout(_) => out_of_reach(),
            other => LinkError::Unavailable(other.to_string()),
        })?;
        Ok(Connection(Kind::Pooled(pooled)))
    }

    /// A connection of one's own for calls that block at the server, [`MAX_BLOCK`] at most. To be dropped when a call
    /// on it fails.
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub async fn dedicated(&self) -> Result<Connection, LinkError> {
        let patience = self.source.options().connect_timeout;
        match tokio::time::timeout(patience, self.source.connect(true)).await {
            Ok(raw) => Ok(Connection(Kind::Own(raw?))),
            Err(_) => Err(out_of_reach()),
        }
    }

    /// What the server says about itself, and whether it will do.
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub async fn check_server(&self) -> Result<ServerReport, LinkError> {
        report::look(self).await
    }
}

fn out_of_reach() -> LinkError {
    LinkError::Unavailable("the server cannot be reached in time".into())
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}
