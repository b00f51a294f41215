//! Records on both engines: the conformance suite, what their files and servers promise, the repositories. One program, so
//! that it is linked once and its tests share a server.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

#[macro_use]
mod common;

mod audit;
mod bulk;
mod crash;
mod damage;
mod disk;
mod erasing;
mod promotions;
mod rate;
mod redb;
mod redis;
mod redis_files;
mod repos;
mod retention;
mod runs;
mod sealed;
mod transfer;
