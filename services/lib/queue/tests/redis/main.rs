//! What only an engine on a server can get wrong: outages, permissions, encryption, memory. The rules that hold for
//! every engine are in the conformance suite.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

mod access;
mod bounds;
mod kit;
mod memory_pressure;
mod outages;
mod speed;
