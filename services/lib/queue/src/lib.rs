//! The job protocol: gateways put jobs on lanes and wait for replies, workers take, answer and acknowledge them.
//! [`Queue`] and [`Consumer`] are what the roles use; an [`Engine`] moves the bytes.

mod consumer;
mod delivery;
mod description;
mod engine;
mod error;
mod membership;
mod memory;
mod options;
mod producer;
mod rate;
mod redis;
mod rejection;
mod sealed;
mod takeover;

pub use consumer::Consumer;
pub use delivery::Delivery;
pub use description::{Description, describe};
pub use engine::{Abandoned, Attempt, DeadLetter, Depth, Engine, Entry, EntryId, Limit, Member, Receipt, ReplyStream};
pub use error::QueueError;
pub use membership::Inbox;
pub use memory::{MemoryEngine, MemoryOptions};
pub use options::{ConsumerOptions, Timing};
pub use producer::{Queue, Replies};
pub use rate::{Rate, Spent};
pub use redis::{RedisEngine, RedisOptions};
pub use rejection::{OnRejected, Rejection};
pub use sealed::SealedEngine;
