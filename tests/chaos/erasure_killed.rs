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

/// Steps that are done when a process is killed: it dies in each of the four, and once right after the order.
const STEPS_DONE: [usize; 5] = [0, 0, 1, 2, 3];
/// Time into the step before the second of those rounds.
const INTO_STEP: Duration = Duration::from_millis(100);
const PEOPLE: usize = 300;

/// Waits until so many steps are done; gives how many there were.
async fn step(client: &Client, erasure: &str, wanted: usize) -> usize {
    loop {
        let record = client.get(erasure).await.ok();
        let done = record["steps"].as_array().expect("steps").iter().filter(|s| s["done"] == true).count();
        if done >= wanted {
            return done;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

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
#[ignore = "five rounds of a lease each: three minutes"]
async fn an_erasure_is_finished_whoever_dies_in_it() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let client = cluster.gateway(1).client();
    drop(client.create_collection("c").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(300).png();
    drop(client.enrol("c", "kept", std::slice::from_ref(&photo)).await.expect(201));
    let desk = Desk::new();
    for (round, wanted) in STEPS_DONE.into_iter().enumerate() {
        let ids = enrolled(&client, round).await;
        drop(client.identify("c", &photo).await.ok());
        // Ordered at the gateway that dies: it has begun by then.
        let doomed = cluster.gateway(0).client();
        let body = json!({"collection_id": "c", "subject_ids": ids});
        let erasure = doomed.post("/v1/erasures", &body).await.expect(202).header("location").to_owned();
        if round > 0 && wanted == 0 {
            tokio::time::sleep(INTO_STEP).await;
        }
        let steps = step(&client, &erasure, wanted).await;
        tokio::task::block_in_place(|| {
            cluster.gateway_mut(0).kill();
            if round % 2 == 1 {
                cluster.worker_mut(0).restart();
            }
        });
        let record = done(&client, &erasure).await;
        println!("killed with {steps} steps done: {}", record["removed"]);
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
