//! A job that was given up, from the operator's side: seen in the metrics, shown, tried again, and then done.

use std::{
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{ErrorCode, JobId, Lane, Problem, TenantId, Timestamp};
use queue::{ConsumerOptions, Queue, RedisEngine, RedisOptions, SealedEngine};
use store::Jobs;
use testkit::{Client, Cluster, ClusterOptions, Image, Person, SEALING_KEY, binary};

use crate::inside;

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

fn visavis(cluster: &Cluster, arguments: &[&str]) -> Output {
    let url = cluster.redis().url();
    let mut command = Command::new(binary());
    command.arg("queue").args(arguments).args(["--redis", &url]).env("VISAVIS__SEALING__KEY", SEALING_KEY);
    command.output().expect("the binary runs")
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(told.contains(why), "{told}");
}

async fn dead(cluster: &Cluster, expected: f64) {
    let began = Instant::now();
    while cluster.gateway(0).metric("visavis_queue_dead_letters", "lane=\"bulk\"").await != expected {
        assert!(began.elapsed() < LIMIT, "the metric does not become {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn state(client: &Client, job: &str) -> String {
    client.get(job).await.ok()["state"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_seen_tried_again_and_its_job_is_open_until_it_is_done() {
    let mut cluster =
        Cluster::start(ClusterOptions { gateways: 1, workers: 0, nginx: false, ..ClusterOptions::default() });
    let client = cluster.client();
    let photo = Person::Astronaut.photo();
    let request = client.request("POST", "/v1/detect").header("content-type", "image/jpeg");
    let accepted = client.send(request.header("prefer", "respond-async").body(photo.clone())).await.expect(202);
    let job = accepted.header("location").to_owned();
    dead(&cluster, 0.0).await;

    // A worker that fails on it and says so in the job's record, as workers do.
    let engine = Arc::new(RedisEngine::new(inside::link(&cluster), RedisOptions::default()));
    let queue = Queue::new(Arc::new(SealedEngine::new(engine, &inside::keyring()).expect("a key")));
    let failing = queue.consumer(Lane::Bulk, ConsumerOptions::default());
    let delivery = failing.next(1).await.expect("the job").remove(0);
    let jobs = Jobs::new(inside::store(&cluster).await, &TenantId::new("default").expect("an id"));
    let id = JobId::new(&delivery.envelope.job_id).expect("an id");
    let problem = Problem::new(ErrorCode::InferenceFailed, "given up after several workers failed on it");
    drop(jobs.finish(&id, Err(problem), Timestamp::now()).await.expect("ended"));
    delivery.bury("no answer after 3 deliveries").await.expect("buried");
    assert_eq!(state(&client, &job).await, "failed");
    dead(&cluster, 1.0).await;

    refused(&visavis(&cluster, &["show", "nonsense"]), "is no id of a dead letter");
    refused(&visavis(&cluster, &["retry", "nonsense"]), "is no id of a dead letter");
    refused(&visavis(&cluster, &["drop", "1-1"]), "there is no dead letter 1-1");
    let listed = visavis(&cluster, &["ls", "--lane", "bulk", "--json"]);
    let letter: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("one line of JSON");
    let letter = letter["id"].as_str().expect("an id");
    let shown = visavis(&cluster, &["show", letter]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(id.as_str()), "{shown:?}");
    refused(&visavis(&cluster, &["show", letter, "--lane", "interactive"]), "there is no dead letter");

    let retried = visavis(&cluster, &["retry", letter]);
    assert!(retried.status.success(), "{retried:?}");
    assert_eq!(state(&client, &job).await, "queued", "open again");
    dead(&cluster, 0.0).await;
    tokio::task::block_in_place(|| cluster.add_worker());
    let began = Instant::now();
    let done = loop {
        let shown = client.get(&job).await.ok();
        if shown["state"] == "succeeded" {
            break shown;
        }
        assert!(began.elapsed() < LIMIT && shown["state"] != "failed", "{shown}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let at_once = client.post_image("/v1/detect", photo, Image::Raw).await.ok();
    assert_eq!(done["result"]["items"], at_once["items"], "the result took the problem's place");
    assert!(done["problem"].is_null(), "{done}");
}
