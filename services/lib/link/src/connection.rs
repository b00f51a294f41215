//! A connection whatever stands behind it; gives itself back to the pool when dropped.

use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};

/// A connection; use it with `redis::Cmd`, `Pipeline` and `Script`.
pub struct Connection(Kind);

enum Kind {
    Single(deadpool_redis::Connection),
}

impl Connection {
    pub(crate) const fn pooled(connection: deadpool_redis::Connection) -> Self {
        Self(Kind::Single(connection))
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.0 {
            Kind::Single(c) => c.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.0 {
            Kind::Single(c) => c.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.0 {
            Kind::Single(c) => c.get_db(),
        }
    }
}
