//! The connection to a Redis or Valkey server, to a Sentinel set or to a cluster: addresses, TLS, a pool of
//! connections, one of its own for calls that block, and what the server says about itself at the start.
//! Used by the Redis engines of the queue and the store, and by nobody else.

mod address;
mod connection;
mod error;
mod options;
mod report;
mod source;

use std::sync::Arc;

pub use connection::Connection;
pub use error::LinkError;
pub use options::LinkOptions;
pub use redis;
pub use report::{Persistence, ServerReport};
pub use source::MAX_BLOCK;

use connection::Kind;
use source::{Manager, Source, config};

/// A pool of connections to one server, Sentinel set or cluster. Cheap to clone. Made without connecting.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    options: LinkOptions,
    pool: Pool,
}

enum Pool {
    Single { source: Box<Source>, pool: deadpool_redis::Pool },
    Other(deadpool::managed::Pool<Manager>),
}

impl Link {
    /// Reads the address and makes the pool; connects to nothing yet, so that a process starts while its server is
    /// away.
    ///
    /// # Errors
    /// [`LinkError::Address`] for a URL or TLS files that cannot be used.
    pub fn new(options: LinkOptions) -> Result<Self, LinkError> {
        let source = Source::new(&options)?;
        let refused = |e: &dyn std::fmt::Display| LinkError::Address(e.to_string());
        let pool = match source {
            Source::Single(ref client) => {
                let info = client.get_connection_info().clone();
                let manager =
                    deadpool_redis::Manager::new_with_config(info, config(&options, std::time::Duration::ZERO));
                let pool = deadpool_redis::Pool::builder(manager.map_err(|e| refused(&e))?)
                    .max_size(options.connections)
                    .runtime(deadpool_redis::Runtime::Tokio1)
                    .create_timeout(Some(options.connect_timeout))
                    .wait_timeout(Some(options.response_timeout))
                    .recycle_timeout(Some(options.response_timeout))
                    .build();
                Pool::Single { pool: pool.map_err(|e| refused(&e))?, source: Box::new(source) }
            }
            source => {
                let pool = deadpool::managed::Pool::builder(Manager { source, options: options.clone() })
                    .max_size(options.connections)
                    .runtime(deadpool::Runtime::Tokio1)
                    .create_timeout(Some(options.connect_timeout))
                    .wait_timeout(Some(options.response_timeout))
                    .recycle_timeout(Some(options.response_timeout))
                    .build();
                Pool::Other(pool.map_err(|e| refused(&e))?)
            }
        };
        Ok(Self { inner: Arc::new(Inner { options, pool }) })
    }

    /// First part of every key, so that several installations may share a server.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.options.prefix
    }

    /// Whether the other end is a cluster: a script may then touch one slot only, and commands go to nodes by key.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(&self.inner.pool, Pool::Other(pool) if matches!(pool.manager().source, Source::Cluster(_)))
    }

    /// A connection for calls that answer at once. Each call on it is bounded by the response timeout.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`], [`LinkError::Refused`] for wrong credentials.
    pub async fn connection(&self) -> Result<Connection, LinkError> {
        use deadpool::managed::PoolError;
        let failed = |e: PoolError<redis::RedisError>| match e {
            PoolError::Backend(e) => LinkError::from(e),
            PoolError::Timeout(_) => LinkError::Unavailable("the server does not answer in time".into()),
            other => LinkError::Unavailable(other.to_string()),
        };
        match &self.inner.pool {
            Pool::Single { pool, .. } => Ok(Connection(Kind::Single(pool.get().await.map_err(failed)?))),
            Pool::Other(pool) => Ok(Connection(Kind::Other(pool.get().await.map_err(failed)?))),
        }
    }

    /// A connection of one's own for calls that block at the server, [`MAX_BLOCK`] at most. To be dropped when a call
    /// on it fails.
    ///
    /// # Errors
    /// As [`Self::connection`].
    pub async fn dedicated(&self) -> Result<Connection, LinkError> {
        let (source, options) = match &self.inner.pool {
            Pool::Single { source, .. } => (&**source, &self.inner.options),
            Pool::Other(pool) => (&pool.manager().source, &self.inner.options),
        };
        let connect = source.connect(options, true);
        match tokio::time::timeout(options.connect_timeout, connect).await {
            Ok(raw) => Ok(Connection(Kind::Own(raw?))),
            Err(_) => Err(LinkError::Unavailable("the server cannot be reached in time".into())),
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

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}
