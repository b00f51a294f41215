//! What one gateway has acknowledged holds at the other at once, whichever worker answers: an enrolment is found, an
//! erasure is never found again.

use std::time::Instant;

use bytes::Bytes;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture};
use tokio::task::JoinSet;

use crate::{ALONE, decision};

/// Enrols through one gateway and looks through the other, then erases and looks again, `rounds` times.
async fn rounds(clients: [Client; 2], person: Person, rounds: usize) {
    let small = |photo: &Bytes| Picture::decode(photo).at_most(320).png();
    let (photo, probe, collection) = (small(&person.photo()), small(&person.others()[0]), person.id());
    drop(clients[0].create_collection(collection).await);
    for round in 0..rounds {
        let (here, there) = (&clients[round % 2], &clients[(round + 1) % 2]);
        let id = format!("s{round}");
        drop(here.enrol(collection, &id, std::slice::from_ref(&photo)).await.expect(201));
        for client in [there, here] {
            let answer = client.identify(collection, &probe).await.ok();
            assert_eq!(decision(&answer), ("match", id.as_str()), "round {round}: {answer}");
        }
        drop(here.delete(&format!("/v1/collections/{collection}/subjects/{id}")).await.ok());
        for client in [there, here, there] {
            let answer = client.identify(collection, &probe).await.ok();
            assert!(!answer.to_string().contains(&id), "round {round}: erased and found: {answer}");
        }
    }
}

/// So many rounds in all, with everybody at once.
async fn consistent(count: usize) {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let began = Instant::now();
    let mut people = JoinSet::new();
    for person in Person::ALL {
        let clients = [0, 1].map(|i| cluster.gateway(i).client());
        people.spawn(rounds(clients, person, count.div_ceil(Person::ALL.len())));
    }
    while let Some(ended) = people.join_next().await {
        ended.expect("no round failed");
    }
    println!("{count} rounds of enrol, find, erase, find nobody: {:.1} s", began.elapsed().as_secs_f64());
    for (i, worker) in cluster.workers().enumerate() {
        let done = worker.metric("visavis_jobs_total", "kind=\"identify\"").await;
        println!("worker {i}: {done} searches");
        assert!(done > 0.0, "worker {i} was never asked");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_acknowledged_holds_at_the_other_at_once() {
    consistent(60).await;
}

/// `cargo test -p visavis-tests --test cluster -- --ignored --nocapture a_thousand_rounds`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "some minutes"]
async fn a_thousand_rounds() {
    consistent(1000).await;
}
