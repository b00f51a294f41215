//! What one gateway has acknowledged holds at the other at once, whichever worker answers: an enrolment is found, an
//! erasure is never found again.

use std::time::Instant;

use bytes::Bytes;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture};

use crate::{ALONE, decision};

/// Photos of everybody, small so that rounds are quick: one to enrol, one to look for.
fn photos() -> Vec<[Bytes; 2]> {
    let small = |photo: &Bytes| Picture::decode(photo).at_most(320).png();
    Person::ALL.iter().map(|p| [small(&p.photo()), small(&p.others()[0])]).collect()
}

/// Enrols through one gateway and looks through the other, then erases and looks again, `rounds` times.
async fn rounds(cluster: &Cluster, rounds: usize) {
    let clients: [Client; 2] = [0, 1].map(|i| cluster.gateway(i).client());
    let photos = photos();
    drop(clients[0].create_collection("staff").await);
    let began = Instant::now();
    for round in 0..rounds {
        let (here, there) = (&clients[round % 2], &clients[(round + 1) % 2]);
        let [photo, probe] = &photos[round % photos.len()];
        let id = format!("s{round}");
        drop(here.enrol("staff", &id, std::slice::from_ref(photo)).await.expect(201));
        for client in [there, here] {
            let answer = client.identify("staff", probe).await.ok();
            assert_eq!(decision(&answer), ("match", id.as_str()), "round {round}: {answer}");
        }
        drop(here.delete(&format!("/v1/collections/staff/subjects/{id}")).await.ok());
        for client in [there, here, there] {
            let answer = client.identify("staff", probe).await.ok();
            assert!(!answer.to_string().contains(&id), "round {round}: erased and found: {answer}");
        }
    }
    println!("{rounds} rounds of enrol, find, erase, find nobody: {:.1} s", began.elapsed().as_secs_f64());
    for i in 0..2 {
        let done = cluster.worker(i).metric("visavis_jobs_total", "kind=\"identify\"").await;
        println!("worker {i}: {done} searches");
        assert!(done > 0.0, "worker {i} was never asked");
    }
}

fn cluster() -> Cluster {
    Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_acknowledged_holds_at_the_other_at_once() {
    let _alone = ALONE.lock().await;
    rounds(&cluster(), 60).await;
}

/// `cargo test -p visavis-tests --test cluster -- --ignored a_thousand_rounds`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "some minutes"]
async fn a_thousand_rounds() {
    let _alone = ALONE.lock().await;
    rounds(&cluster(), 1000).await;
}
