//! Calls to the server. Reads are tried once more on another connection when theirs broke; writes never, because
//! nobody knows whether they took effect.

use link::{
    Connection, Link, LinkError,
    redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value},
};

use super::scripts::Call;
use crate::StoreError;

/// The way to the server.
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
}

impl Client {
    pub const fn new(link: Link) -> Self {
        Self { link }
    }

    pub const fn link(&self) -> &Link {
        &self.link
    }

    pub async fn connection(&self) -> Result<Connection, StoreError> {
        self.link.connection().await.map_err(|e| StoreError::Unavailable(e.to_string()))
    }

    /// A command that may be given twice.
    pub async fn read(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        let first = cmd.query_async(&mut self.connection().await?).await;
        match first {
            Err(e) if broke(&e) => cmd.query_async(&mut self.connection().await?).await,
            done => done,
        }
        .map_err(unavailable)
    }

    /// A command that must not be given twice.
    pub async fn write(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        cmd.query_async(&mut self.connection().await?).await.map_err(unavailable)
    }

    /// A script that may run twice.
    pub async fn read_script(&self, call: &Call) -> Result<Value, StoreError> {
        let first = run(&mut self.connection().await?, call).await;
        match first {
            Err(e) if broke(&e) => run(&mut self.connection().await?, call).await,
            done => done,
        }
        .map_err(unavailable)
    }

    /// A script that must not run twice.
    pub async fn write_script(&self, call: &Call) -> Result<Value, StoreError> {
        run(&mut self.connection().await?, call).await.map_err(unavailable)
    }
}

async fn run(connection: &mut Connection, call: &Call) -> RedisResult<Value> {
    match call.by_digest().query_async(connection).await {
        // Then it has not run.
        Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            call.in_full().query_async(connection).await
        }
        done => done,
    }
}

/// Whether the connection went away under the call, rather than the server answering or being slow.
fn broke(e: &RedisError) -> bool {
    (e.is_io_error() || e.is_connection_dropped()) && !e.is_timeout()
}

/// Any failure to get an answer from the server.
pub fn unavailable(e: RedisError) -> StoreError {
    StoreError::Unavailable(LinkError::from(e).to_string())
}
