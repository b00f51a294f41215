//! The service as it is deployed: gateways and workers as processes of their own on one Redis, behind nginx.
//! The long versions are ignored; each names its command.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; figures show with --nocapture"
)]

mod bulk;
#[path = "../candidates.rs"]
#[expect(dead_code, reason = "shared with other tests, each of which needs a part of it")]
mod candidates;
mod chart;
mod consents;
mod consistency;
#[path = "../crowd.rs"]
mod crowd;
mod dead_letters;
mod erasure;
#[path = "../events.rs"]
mod events;
#[path = "../evidence.rs"]
mod evidence;
mod failover;
mod improvement;
#[path = "../inside.rs"]
mod inside;
mod installed;
mod logs;
mod promotion;
mod proxy;
mod rolling;
mod round_trips;
mod sealing;
mod sealing_cost;
mod shredded;
mod slow;
#[path = "../switching.rs"]
mod switching;
mod traces;
mod training;
mod versions;
mod watched;

use serde_json::Value;
use tokio::sync::Mutex;

/// Tests that measure or stop processes run one at a time: they would disturb each other.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The decision on the only face searched, and the best candidate if there is one.
#[track_caller]
fn decision(answer: &Value) -> (&str, &str) {
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 1, "{answer}");
    let best = results[0]["candidates"][0]["subject_id"].as_str().unwrap_or_default();
    (results[0]["decision"].as_str().expect("a decision"), best)
}
