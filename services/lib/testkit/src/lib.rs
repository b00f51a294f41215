//! For tests only: photos of real people fetched by checksum, pictures made from them, the evaluation data where it is
//! there, and the real service as a process with a client for it. Everything here fails a test by panicking.

#![expect(clippy::expect_used, clippy::panic, reason = "its callers are tests")]

mod answer;
mod app;
mod client;
mod fixtures;
mod people;
mod picture;
mod process;
mod shared;

pub use answer::Answer;
pub use app::{AppOptions, TestApp, binary, build_once};
pub use client::{Client, Http, Image, encoded, enrolment, part};
pub use fixtures::{Fixture, cache_dir, fixture};
pub use people::{Person, two_people};
pub use picture::{Picture, png_header_only};
pub use process::{Memory, forget_peak, memory_of, signal};
pub use shared::{Row, read_csv, shared, shared_or_skip};
