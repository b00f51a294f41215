//! The workspace against its own rules, without building or starting anything: who imports whom, what deny.toml says,
//! lints and sizes of files.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod corpora;
mod files;
mod imports;
mod workspace;
