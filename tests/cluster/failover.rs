//! The Redis that is written to dies for good; sentinels put its replica in its place.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::task::block_in_place;

/// Writes go on within this time.
const LIMIT: Duration = Duration::from_secs(60);
/// What the replica may lack of what was acknowledged: nobody waits for it (see the manual of `WAIT`).
const LOST: usize = 2;

/// Enrols one subject under a key, repeating until that is acknowledged.
async fn enrol(client: &Client, id: &str, photo: &Bytes, refused: &mut usize) {
    let began = Instant::now();
    loop {
        let request = client.request("POST", "/v1/collections/staff/subjects").header("idempotency-key", id);
        let request = request.header("x-deadline-ms", "3000").json(&enrolment(id, std::slice::from_ref(photo)));
        match client.try_send(request).await {
            Ok(answer) if answer.status == 201 => return,
            Ok(answer) => assert!(answer.json["retryable"] == true, "{} {}", answer.status, answer.text()),
            Err(_) => {}
        }
        *refused += 1;
        assert!(began.elapsed() < LIMIT, "{id} was never acknowledged");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_takes_the_primarys_place_and_writes_go_on() {
    let mut cluster = Cluster::start(ClusterOptions {
        gateways: 1,
        workers: 1,
        nginx: false,
        sentinels: true,
        ..ClusterOptions::default()
    });
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(200).png();
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    let next = async |acknowledged: &mut BTreeSet<String>, refused: &mut usize| {
        let id = format!("p{:03}", acknowledged.len());
        enrol(&client, &id, &photo, refused).await;
        acknowledged.insert(id);
    };
    for _ in 0..20 {
        next(&mut acknowledged, &mut refused).await;
    }
    assert_eq!(refused, 0);
    let before = acknowledged.clone();
    block_in_place(|| cluster.redis_mut().kill());
    let killed = Instant::now();
    next(&mut acknowledged, &mut refused).await;
    let resumed = killed.elapsed();
    for _ in 0..20 {
        next(&mut acknowledged, &mut refused).await;
    }
    let listed = client.subjects("staff").await;
    let lost: Vec<_> = acknowledged.difference(&listed).collect();
    println!("writes went on after {resumed:.1?}, {refused} refused; {} of {} lost", lost.len(), before.len());
    assert!(lost.len() <= LOST && lost.iter().all(|id| before.contains(*id)), "acknowledged and lost: {lost:?}");
    let found = client.identify("staff", &photo).await.ok();
    assert_eq!(found["results"][0]["candidates"][0]["score"], 1.0, "{found}");
}
