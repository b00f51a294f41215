//! The service is killed and told to stop under load: nothing acknowledged is lost, nothing is half there.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod kill;
mod stop;
