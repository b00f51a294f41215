//! Who may do what: every operation of the API document with every wrong credential, and two tenants side by side, on the
//! real binary over real TLS. A new route fails here until `operations.rs` says what a request to it looks like.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod addresses;
#[path = "../candidates.rs"]
#[expect(dead_code, reason = "shared with other tests, each of which needs a part of it")]
mod candidates;
mod credentials;
mod matrix;
mod operations;
mod tenants;
mod world;
