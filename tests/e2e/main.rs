//! The running service as a caller sees it: the real binary, over real TLS, with real photos. With `VISAVIS_TEST_ORIGIN`,
//! `VISAVIS_TEST_CA_FILE` and `VISAVIS_TEST_KEY_FILE` the tests that share a service ask one that is deployed, which has
//! to be empty: `cluster chart` does so with all that the chart says.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking; figures show with --nocapture"
)]

mod access;
mod asynchronous;
#[path = "../candidates.rs"]
#[expect(dead_code, reason = "shared with other tests, each of which needs a part of it")]
mod candidates;
mod consents;
mod crops;
#[path = "../crowd.rs"]
mod crowd;
mod erasure;
#[path = "../evidence.rs"]
mod evidence;
mod floods;
mod forms;
mod frames;
mod hostile;
mod hostile_nginx;
mod journey;
#[path = "../models.rs"]
mod models;
mod moving;
mod promotion;
mod raw;
mod recognise;
mod refusals;
mod smuggling;
#[path = "../switching.rs"]
mod switching;
mod transport;
mod visibility;
mod writes;

use serde_json::Value;
use testkit::{Client, Person, Target};

/// A caller with the admin key of the service that these tests share.
fn caller() -> Client {
    Target::shared().client()
}

/// A caller and a collection of its own with these people enrolled, one photo each.
async fn collection_with(id: &str, people: &[Person]) -> Client {
    let client = caller();
    drop(client.create_collection(id).await);
    for person in people {
        drop(client.enrol(id, person.id(), &[person.photo()]).await.expect(201));
    }
    client
}

/// The decision on the only face searched, and the best candidate if there is one.
#[track_caller]
fn decision(answer: &Value) -> (&str, &str) {
    let results = answer["results"].as_array().expect("results");
    assert_eq!(results.len(), 1, "{answer}");
    let best = results[0]["candidates"][0]["subject_id"].as_str().unwrap_or_default();
    (results[0]["decision"].as_str().expect("a decision"), best)
}

/// The embedding of the only face in an image, as the API gives it.
async fn embedding_of(client: &Client, image: bytes::Bytes) -> Vec<f32> {
    let answer = client.embeddings(image).await.ok();
    let values = answer["items"][0]["faces"][0]["embedding"]["values"].as_array().expect("an embedding").clone();
    #[expect(clippy::cast_possible_truncation, reason = "it was a single-precision number")]
    values.iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}
