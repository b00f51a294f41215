//! kill -9 of a gateway, and of a worker, in the middle of an erasure: it is finished by whoever is left or comes back,
//! counts nobody twice and leaves nobody.

use std::time::Duration;

use serde_json::json;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture};
use tokio::task::JoinSet;

use crate::{
    evidence::{Desk, done},
    load::ALONE,
};

/// Moments after the order at which a process is killed: together they fall into every step.
const MOMENTS_MS: [u64; 8] = [0, 30, 60, 100, 150, 220, 320, 480];
const PEOPLE: usize = 300;

async fn enrolled(client: &Client, round: usize) -> Vec<String> {
    let ids: Vec<String> = (0..PEOPLE).map(|n| format!("r{round}-{n}")).collect();
    for some in ids.chunks(50) {
        let mut made = JoinSet::new();
        for id in some {
            let (client, id) = (client.clone(), id.clone());
            made.spawn(async move { client.enrol("c", &id, &[]).await.expect(201) });
        }
        made.join_all().await;
    }
    ids
}

/// `cargo test -p visavis-tests --test chaos erasure_killed -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "eight rounds of a lease each: two minutes"]
async fn an_erasure_is_finished_whoever_dies_in_it() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let client = cluster.gateway(1).client();
    drop(client.create_collection("c").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(300).png();
    drop(client.enrol("c", "kept", std::slice::from_ref(&photo)).await.expect(201));
    let desk = Desk::new();
    for (round, ms) in MOMENTS_MS.into_iter().enumerate() {
        let ids = enrolled(&client, round).await;
        drop(client.identify("c", &photo).await.ok());
        // Ordered at the gateway that dies: it has begun by then.
        let doomed = cluster.gateway(0).client();
        let body = json!({"collection_id": "c", "subject_ids": ids});
        let erasure = doomed.post("/v1/erasures", &body).await.expect(202).header("location").to_owned();
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let before = client.get(&erasure).await.ok();
        tokio::task::block_in_place(|| {
            cluster.gateway_mut(0).kill();
            if round % 2 == 1 {
                cluster.worker_mut(0).restart();
            }
        });
        let record = done(&client, &erasure).await;
        let steps = before["steps"].as_array().expect("steps").iter().filter(|s| s["done"] == true).count();
        println!("killed after {ms} ms, {steps} steps done: {}", record["removed"]);
        assert_eq!(record["removed"]["subjects"], PEOPLE, "{record}");
        assert_eq!(record["removed"]["consents"], PEOPLE, "{record}");
        assert_eq!(client.subjects("c").await.into_iter().collect::<Vec<_>>(), ["kept"]);
        let keys = desk.keys(&client).await;
        let (_, file) = desk.receipt(&client, &erasure).await;
        assert_eq!(desk.verify_receipt(&file, &keys, &["--subject", &ids[0]]).0, 0);
        tokio::task::block_in_place(|| cluster.gateway_mut(0).restart());
    }
    let lines = crate::evidence::export(&client).await;
    let keys = desk.keys(&client).await;
    let (status, told) = desk.verify_trail(&lines, &["--jwks", keys.to_str().expect("a path")]);
    assert_eq!(status, 0, "{told}");
}
