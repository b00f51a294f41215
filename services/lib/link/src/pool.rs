//! Which connections may be used again. A connection that failed is not; after an outage none of those made before it
//! is; one that lay idle or whose last call was broken off has to answer first. All others are used as they are: a
//! question before every call would double the round trips.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, ServerErrorKind, Value, aio::ConnectionLike,
};

use crate::source::{Raw, Source};

/// A connection idle for longer has to answer before it is used: something on the way may have forgotten it.
const TRUSTED_FOR: Duration = Duration::from_secs(5);

/// Makes and checks the pool's connections. `deadpool-redis` has managers too; those for Sentinel and Cluster take
/// neither time limits nor certificates, and all ask before every use.
pub struct Manager {
    /// Where connections come from.
    pub source: Arc<Source>,
    outages: Arc<AtomicU64>,
}

/// A connection of the pool.
pub struct Pooled {
    raw: Raw,
    standing: Standing,
    /// Number of outages before it was made.
    born: u64,
    outages: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its last call was answered.
    Sound,
    /// Its last call was not waited for to the end.
    Unsure,
    /// Its last call failed in a way that another may meet again.
    Broken,
}

impl Manager {
    /// A manager of connections from `source`.
    pub fn new(source: Arc<Source>) -> Self {
        Self { source, outages: Arc::default() }
    }
}

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = RedisError;

    async fn create(&self) -> Result<Pooled, RedisError> {
        let born = self.outages.load(Ordering::Relaxed);
        let raw = self.source.connect(false).await?;
        Ok(Pooled { raw, standing: Standing::Sound, born, outages: Arc::clone(&self.outages) })
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<RedisError> {
        if pooled.standing == Standing::Broken || pooled.born != self.outages.load(Ordering::Relaxed) {
            return Err(RecycleError::message("made before an outage"));
        }
        if pooled.standing == Standing::Sound && metrics.last_used() < TRUSTED_FOR {
            return Ok(());
        }
        let patience = self.source.options().connect_timeout;
        let ping = redis::cmd("PING");
        match tokio::time::timeout(patience, pooled.req_packed_command(&ping)).await {
            Ok(answer) => answer.map(drop).map_err(RecycleError::Backend),
            Err(_) => {
                // The others would be as silent, each for as long.
                pooled.outages.fetch_add(1, Ordering::Relaxed);
                Err(RecycleError::message("no answer"))
            }
        }
    }
}

impl Pooled {
    /// Any connection, for calls that ask every server.
    pub fn raw(&mut self) -> &mut Raw {
        &mut self.raw
    }

    fn judge<T>(&mut self, answer: RedisResult<T>) -> RedisResult<T> {
        self.standing = Standing::Sound;
        if answer.as_ref().is_err_and(ends_connection) {
            self.standing = Standing::Broken;
            // One of a flock that meets the same wall counts once.
            let (born, next) = (self.born, self.born.wrapping_add(1));
            let _ = self.outages.compare_exchange(born, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }
}

/// Whether another connection may fare better: the network failed, or this server is no longer the one to write to.
fn ends_connection(error: &RedisError) -> bool {
    let demoted = matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) //
    );
    demoted || error.is_io_error() || error.is_unrecoverable_error()
}

impl ConnectionLike for Pooled {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.standing = Standing::Unsure;
            let answer = self.raw.req_packed_command(cmd).await;
            self.judge(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.standing = Standing::Unsure;
            let answer = self.raw.req_packed_commands(cmd, offset, count).await;
            self.judge(answer)
        })
    }

    fn get_db(&self) -> i64 {
        self.raw.get_db()
    }
}
