//! How often a request goes to Redis and back before its job is on the lane: what does not need each other is asked
//! together. Counted by time, with a proxy that makes each way long.

use std::time::{Duration, Instant};

use testkit::{Cluster, ClusterOptions, Person, Picture, enrolment};

use crate::ALONE;

/// One way to Redis, or back.
const WAY: Duration = Duration::from_millis(100);
/// Key and place; collection, subject and consents; job record; lane; and, once the job is on it, the audit trail.
const TRIPS: u128 = 5;
/// With an idempotency key: its slot is claimed before, and the answer kept after.
const TRIPS_WITH_KEY: u128 = TRIPS + 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_independent_is_asked_together() {
    let _alone = ALONE.lock().await;
    let options = ClusterOptions { gateways: 1, workers: 1, nginx: false, proxied: true, ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(200).png();
    let send = async |n: usize, key: bool| {
        let id = format!("p{n}-{key}");
        let request = client.request("POST", "/v1/collections/staff/subjects").header("prefer", "respond-async");
        let request = if key { request.header("idempotency-key", &id) } else { request };
        let began = Instant::now();
        drop(client.send(request.json(&enrolment(&id, std::slice::from_ref(&photo)))).await.expect(202));
        began.elapsed()
    };
    // Connections are made, scripts are known.
    for key in [false, true] {
        for n in 0..2 {
            send(n, key).await;
        }
    }
    cluster.gateway_proxy(0).delay(WAY);
    for (key, trips) in [(false, TRIPS), (true, TRIPS_WITH_KEY)] {
        let mut least = Duration::MAX;
        for n in 10..13 {
            least = least.min(send(n, key).await);
        }
        let counted = least.as_millis() / (2 * WAY).as_millis();
        println!(
            "an enrolment that is not waited for, {}: {counted} round trips",
            if key { "with a key" } else { "without" }
        );
        assert!(counted <= trips, "{counted} round trips: {least:?}");
    }
}
