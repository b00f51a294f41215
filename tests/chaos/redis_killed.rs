//! kill -9 of Redis while people are enrolled. It writes to disk before it answers, so that what was acknowledged is
//! there when it is back.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::task::block_in_place;

use crate::load::{ALONE, Summary, at_once};

/// How long Redis is gone.
const AWAY: Duration = Duration::from_secs(2);
/// A request's deadline.
const DEADLINE: Duration = Duration::from_secs(4);
/// Everything works again within this time.
const RECOVERY: Duration = Duration::from_secs(15);
/// Answers to a request without Redis.
const HONEST: [(u16, &str); 4] =
    [(503, "queue_unavailable"), (503, "store_unavailable"), (503, "overloaded"), (504, "deadline_exceeded")];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_before_redis_died_is_there_when_it_is_back() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    drop(clients[0].create_collection("c").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let photos = Arc::new([photo.clone(), Picture::decode(&photo).mirrored().png()]);
    let stop = Arc::new(AtomicBool::new(false));
    let (start, enough) = (Instant::now(), Arc::clone(&stop));
    let (sent, second) = (Arc::clone(&photos), clients[1].clone());
    let load = tokio::spawn({
        let first = clients[0].clone();
        async move {
            let request = move |client: &testkit::Client, i: usize| {
                let client = if i.is_multiple_of(2) { client } else { &second };
                let request = client.request("POST", "/v1/collections/c/subjects");
                let request = request.header("x-deadline-ms", DEADLINE.as_millis().to_string());
                request.json(&enrolment(&format!("s{i}"), &sent[..]))
            };
            at_once(&first, 6, move |_| enough.load(Ordering::Relaxed), request).await
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let killed = start.elapsed();
    block_in_place(|| cluster.redis_mut().kill());
    tokio::time::sleep(AWAY).await;
    assert_eq!(cluster.gateway(0).readiness().await, Some(503), "a gateway without Redis is not ready");
    block_in_place(|| cluster.redis_mut().restart());
    let back = start.elapsed();
    tokio::time::sleep(Duration::from_secs(4)).await;
    stop.store(true, Ordering::Relaxed);
    let outcomes = load.await.expect("the load ends");

    println!("Redis killed: {}", Summary(&outcomes));
    let kept: BTreeSet<String> = outcomes.iter().filter(|o| o.succeeded()).map(|o| format!("s{}", o.number)).collect();
    assert!(outcomes.iter().any(|o| o.succeeded() && o.at < killed), "nothing was acknowledged before the kill");
    for outcome in outcomes.iter().filter(|o| !o.succeeded()) {
        assert!(HONEST.contains(&(outcome.status, outcome.code.as_str())), "{outcome:?}");
        assert!(outcome.took < DEADLINE + Duration::from_secs(1), "{outcome:?}");
    }
    let again = outcomes.iter().filter(|o| o.succeeded() && o.at > back).map(|o| o.at - back).min();
    println!("acknowledged {}; again {again:.2?} after Redis was back", kept.len());
    assert!(again.is_some_and(|d| d < RECOVERY), "{again:?}");

    let client = &clients[0];
    assert_eq!(cluster.gateway(0).readiness().await, Some(200));
    let listed = client.subjects("c").await;
    let lost: Vec<_> = kept.difference(&listed).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let stats = client.get("/v1/collections/c/stats").await.ok();
    assert_eq!(stats["faces"], 2 * listed.len(), "half an enrolment: {stats}");
    let embedded = client.embeddings(photos[0].clone()).await.ok();
    let probe = &embedded["items"][0]["faces"][0]["embedding"];
    for id in &kept {
        let body = json!({"embedding": probe, "purpose": "access_control", "subject_ids": [id]});
        let found = clients[1].post("/v1/collections/c/identify", &body).await.ok();
        assert_eq!(found["results"][0]["candidates"][0]["subject_id"], id.as_str(), "{found}");
        assert_eq!(found["threshold"]["gallery_size"], 2, "{found}");
    }
}
