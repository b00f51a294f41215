//! The index against naive references, and galleries on real stores: what is found, by whom, after what.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

mod common;
mod concurrency;
mod consent;
mod exact;
mod fencing;
mod follow;
mod generations;
mod index;
mod rate;
mod snapshots;
mod workers;
