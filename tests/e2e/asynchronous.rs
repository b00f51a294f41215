//! Work nobody waits for: `Prefer: respond-async`, and jobs that are followed and listed.

use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Client, Person, enrolment};

use crate::{collection_with, decision};

/// Asks for the job until it has ended. Each request waits for the store, so this is no busy loop for long.
async fn ended(client: &Client, path: &str) -> Value {
    let began = Instant::now();
    loop {
        let job = client.get(path).await.ok();
        match job["state"].as_str() {
            Some("queued" | "running") => assert!(began.elapsed() < Duration::from_secs(60), "{job}"),
            Some(_) => return job,
            None => panic!("{job}"),
        }
    }
}

#[tokio::test]
async fn an_enrolment_may_be_followed_as_a_job() {
    let client = collection_with("async", &[]).await;
    let request = client.request("POST", "/v1/collections/async/subjects").header("prefer", "respond-async");
    let accepted = client.send(request.json(&enrolment("astronaut", &[Person::Astronaut.photo()]))).await.expect(202);
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    let job = accepted.header("location").to_owned();
    assert!(job.starts_with("/v1/jobs/"), "{job}");
    let done = ended(&client, &job).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    assert_eq!(done["result"]["subject"]["id"], "astronaut", "{done}");
    let answer = client.identify("async", &Person::Astronaut.others()[0]).await.ok();
    assert_eq!(decision(&answer), ("match", "astronaut"));
    let listed = client.get("/v1/jobs?limit=100").await.ok();
    assert!(listed.to_string().contains(job.trim_start_matches("/v1/jobs/")), "{listed}");
}

#[tokio::test]
async fn a_job_that_fails_says_why() {
    let client = collection_with("async-fails", &[]).await;
    let request = client.request("POST", "/v1/collections/async-fails/subjects").header("prefer", "respond-async");
    let body = enrolment("anna", &[testkit::two_people()]);
    let accepted = client.send(request.json(&body)).await.expect(202);
    let done = ended(&client, accepted.header("location")).await;
    assert_eq!((&done["state"], &done["problem"]["code"]), (&"failed".into(), &"multiple_faces".into()), "{done}");
}

#[tokio::test]
async fn a_caller_may_wait_a_while_and_get_the_answer_itself() {
    let client = collection_with("async-wait", &[]).await;
    let request = client.request("POST", "/v1/collections/async-wait/subjects").header("prefer", "wait=30");
    let answer = client.send(request.json(&enrolment("astronaut", &[Person::Astronaut.photo()]))).await.expect(201);
    assert_eq!(answer.json["subject"]["id"], "astronaut");
}
