//! How the shared engine is set up. Built by the binary from its settings.

use std::time::Duration;

use domain::Timestamp;

/// What an erasure does to the server's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraseMode {
    /// They are rewritten without the erased values before the erasure is acknowledged.
    #[default]
    Rewrite,
    /// Nothing: erased values are gone for every reader, and from the files with the server's own next rewrite.
    Logical,
}

/// When a server writes its append-only file to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appendfsync {
    /// Before it answers.
    Always,
    /// Every second.
    EverySecond,
    /// When the operating system does.
    No,
}

/// Options of a [`crate::RedisStore`].
#[derive(Clone, Debug)]
pub struct RedisStoreOptions {
    /// Commits per space that the change feed reaches back.
    pub feed_kept: u64,
    /// What an erasure does to the server's files.
    pub erase: EraseMode,
    /// Longest time for the rewrite of an erasure; after it the caller hears that the erasure is not confirmed, and a
    /// later sweep finishes it.
    pub erase_timeout: Duration,
    /// Open although acknowledged commits may be lost when the server crashes.
    pub allow_weak_durability: bool,
    /// The operator's word where the server does not let its `appendfsync` be read.
    pub assured_appendfsync: Option<Appendfsync>,
    /// Longest time for a commit to reach the disk, where that is waited for by `WAITAOF`. Shorter than the link's
    /// response timeout.
    pub wait_timeout: Duration,
    /// What time it is, for values that expire.
    pub clock: fn() -> Timestamp,
}

impl Default for RedisStoreOptions {
    fn default() -> Self {
        Self {
            feed_kept: 65_536,
            erase: EraseMode::Rewrite,
            erase_timeout: Duration::from_secs(60),
            allow_weak_durability: false,
            assured_appendfsync: None,
            wait_timeout: Duration::from_secs(4),
            clock: Timestamp::now,
        }
    }
}
