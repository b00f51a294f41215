//! The service is killed and told to stop under load, and work is delivered twice: nothing acknowledged is lost, nothing
//! is half there, nothing is done twice.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod kill;
#[path = "../models.rs"]
mod models;
mod redelivered;
mod stop;
