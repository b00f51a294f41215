//! The connection to a Redis or Valkey server, to a Sentinel set or to a cluster: addresses, TLS, a pool of
//! connections, one of its own for calls that block, and what the server says about itself at the start.
//! Used by the Redis engines of the queue and the store, and by nobody else.

mod connection;
mod error;
mod options;

use std::sync::Arc;

pub use connection::Connection;
pub use error::LinkError;
pub use options::LinkOptions;
pub use redis;

/// A pool of connections to one server, Sentinel set or cluster. Cheap to clone. Made without connecting.
#[derive(Clone)]
pub struct Link {
    inner: Arc<Inner>,
}

struct Inner {
    options: LinkOptions,
    pool: deadpool_redis::Pool,
}

impl Link {
    /// Reads the address and makes the pool; connects to nothing yet, so that a process starts while its server is
    /// away.
    ///
    /// # Errors
    /// [`LinkError::Address`] for a URL or TLS files that cannot be used.
    pub fn new(options: LinkOptions) -> Result<Self, LinkError> {
        let address = |e: &dyn std::fmt::Display| LinkError::Address(e.to_string());
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(options.connect_timeout))
            .set_response_timeout(Some(options.response_timeout));
        let manager =
            deadpool_redis::Manager::new_with_config(options.url.as_str(), config).map_err(|e| address(&e))?;
        let pool = deadpool_redis::Pool::builder(manager)
            .max_size(options.connections)
            .runtime(deadpool_redis::Runtime::Tokio1)
            .create_timeout(Some(options.connect_timeout))
            .wait_timeout(Some(options.response_timeout))
            .recycle_timeout(Some(options.response_timeout))
            .build()
            .map_err(|e| address(&e))?;
        Ok(Self { inner: Arc::new(Inner { options, pool }) })
    }

    /// First part of every key, so that several installations may share a server.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.options.prefix
    }

    /// A connection for calls that answer at once. Each call on it is bounded by the response timeout.
    ///
    /// # Errors
    /// [`LinkError::Unavailable`].
    pub async fn connection(&self) -> Result<Connection, LinkError> {
        let pooled = self.inner.pool.get().await.map_err(|e| LinkError::Unavailable(e.to_string()))?;
        Ok(Connection::pooled(pooled))
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("prefix", &self.prefix()).finish_non_exhaustive()
    }
}
