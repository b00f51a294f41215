//! Processes are killed and told to stop under load, connections break, Redis goes away, work is delivered twice:
//! nothing acknowledged is lost, nothing is half there, nothing is done twice. The long versions are ignored; each
//! names its command.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; figures show with --nocapture"
)]

mod clock;
mod disk;
mod erasure_killed;
#[path = "../events.rs"]
mod events;
#[path = "../evidence.rs"]
mod evidence;
mod fairness;
mod gateway_killed;
#[path = "../inside.rs"]
mod inside;
mod kill;
mod load;
#[path = "../models.rs"]
mod models;
mod overload;
mod partition;
mod poison;
mod redelivered;
mod redis_killed;
mod stop;
mod worker_killed;
