//! The engine on Redis or Valkey Streams: any number of gateways and workers, joined by one server, Sentinel set or
//! cluster. One lane is one hash slot. A stream entry holds a few small fields; the job itself lies under a key of its
//! own, so that claiming, listing and burying never move pictures. Every change of more than one key is one script.

mod engine;
mod found;
mod inner;
mod keys;
mod letters;
mod reader;
mod replies;
mod scripts;

use std::time::Duration;

pub use engine::RedisEngine;

/// Bounds of a [`RedisEngine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// Most bytes of jobs per lane, those in workers' hands included: pictures travel inside the jobs.
    pub lane_bytes: usize,
    /// What `Overloaded` says about when to come back, at least.
    pub retry_after: Duration,
    /// Most unread replies per stream, roughly; the oldest go first.
    pub reply_capacity: usize,
    /// A reply stream that got nothing for this long is dropped: its gateway is gone.
    pub reply_ttl: Duration,
    /// Most dead letters per lane; the oldest go first.
    pub dead_letter_capacity: usize,
    /// Age at which a dead letter is dropped: it may hold a picture of somebody.
    pub dead_letter_ttl: Duration,
    /// Age at which a mark of a cancelled job is dropped; longer than any job may take.
    pub cancel_ttl: Duration,
    /// A consumer without jobs that was not seen for this long is forgotten.
    pub forget_consumer: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            lane_bytes: 512 << 20,
            retry_after: Duration::from_secs(1),
            reply_capacity: 4096,
            reply_ttl: Duration::from_secs(120),
            dead_letter_capacity: 64,
            dead_letter_ttl: Duration::from_secs(24 * 3600),
            cancel_ttl: Duration::from_secs(3600),
            forget_consumer: Duration::from_secs(3600),
        }
    }
}
