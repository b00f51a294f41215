//! A connection whatever stands behind it; gives itself back to the pool when dropped, unless it is one's own.

use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};

use crate::{pool::Manager, source::Raw};

/// A connection; use it with `redis::Cmd`, `Pipeline` and `Script`. One on which a call failed is not used again.
pub struct Connection(pub(crate) Kind);

pub(crate) enum Kind {
    Pooled(deadpool::managed::Object<Manager>),
    Own(Raw),
}

impl Connection {
    /// Asks the server, or every master of a cluster: one answer for each.
    pub(crate) async fn everywhere(&mut self, command: Cmd) -> RedisResult<Vec<Value>> {
        match &mut self.0 {
            Kind::Pooled(c) => c.raw().everywhere(command).await,
            Kind::Own(c) => c.everywhere(command).await,
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.0 {
            Kind::Pooled(c) => c.req_packed_command(cmd),
            Kind::Own(c) => c.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.0 {
            Kind::Pooled(c) => c.req_packed_commands(cmd, offset, count),
            Kind::Own(c) => c.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.0 {
            Kind::Pooled(c) => c.get_db(),
            Kind::Own(c) => c.get_db(),
        }
    }
}
