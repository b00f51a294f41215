//! A connection whatever stands behind it; gives itself back to the pool when dropped, unless it is one's own.

use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};

use crate::source::{Manager, Raw};

/// A connection; use it with `redis::Cmd`, `Pipeline` and `Script`.
pub struct Connection(pub(crate) Kind);

pub(crate) enum Kind {
    Single(deadpool_redis::Connection),
    Other(deadpool::managed::Object<Manager>),
    Own(Raw),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.0 {
            Kind::Single(c) => c.req_packed_command(cmd),
            Kind::Other(c) => c.req_packed_command(cmd),
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
            Kind::Single(c) => c.req_packed_commands(cmd, offset, count),
            Kind::Other(c) => c.req_packed_commands(cmd, offset, count),
            Kind::Own(c) => c.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.0 {
            Kind::Single(c) => c.get_db(),
            Kind::Other(c) => c.get_db(),
            Kind::Own(c) => c.get_db(),
        }
    }
}
