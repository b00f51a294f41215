//! The engine inside one process: the embedded default. Lanes, replies and marks live in memory, bounded in number,
//! bytes and age; consumers wait on notifications. Time is tokio's clock, which tests may pause.

mod engine;
mod lane;
mod marks;
mod members;
mod replies;

use std::time::Duration;

pub use engine::MemoryEngine;

/// Bounds of a [`MemoryEngine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Most jobs waiting per lane.
    pub lane_capacity: usize,
    /// Most bytes of jobs per lane, those in workers' hands included: pictures travel inside the jobs.
    pub lane_bytes: usize,
    /// What `Overloaded` says about when to come back, at least.
    pub retry_after: Duration,
    /// Most unread replies per stream; the oldest go first.
    pub reply_capacity: usize,
    /// Age at which an unread reply is dropped.
    pub reply_ttl: Duration,
    /// Most dead letters per lane; the oldest go first.
    pub dead_letter_capacity: usize,
    /// Age at which a dead letter is dropped: it may hold a picture of somebody.
    pub dead_letter_ttl: Duration,
    /// Most marks of cancelled jobs; the oldest go first.
    pub cancel_capacity: usize,
    /// Age at which a mark is dropped; longer than any job may take.
    pub cancel_ttl: Duration,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            lane_capacity: 1024,
            lane_bytes: 512 << 20,
            retry_after: Duration::from_secs(1),
            reply_capacity: 4096,
            reply_ttl: Duration::from_secs(120),
            dead_letter_capacity: 64,
            dead_letter_ttl: Duration::from_secs(24 * 3600),
            cancel_capacity: 65_536,
            cancel_ttl: Duration::from_secs(3600),
        }
    }
}
