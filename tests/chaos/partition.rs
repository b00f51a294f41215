//! Connections between the roles and Redis break in every way there is: refused, slow, and open but silent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{Client, Cluster, ClusterOptions, FaultProxy, Person, Picture, enrolment};

use crate::load::{ALONE, Outcome, Summary, at_rate};

/// A request's deadline.
const DEADLINE: Duration = Duration::from_secs(3);
/// Everything works again within this time after a fault has ended.
const RECOVERY: Duration = Duration::from_secs(15);
/// Answers to a request that could not be done. Workers that are away for longer than their lease are not ready.
const HONEST: [(u16, &str); 5] = [
    (503, "queue_unavailable"),
    (503, "store_unavailable"),
    (503, "overloaded"),
    (503, "model_not_ready"),
    (504, "deadline_exceeded"),
];

/// One way to break, and for whom.
struct Fault {
    name: &'static str,
    breaks: fn(&FaultProxy),
    /// For the gateways, for the workers.
    whom: [bool; 2],
}

const FAULTS: [Fault; 7] = [
    Fault { name: "cut for all", breaks: FaultProxy::cut, whom: [true, true] },
    Fault { name: "silence for all", breaks: FaultProxy::hang, whom: [true, true] },
    Fault { name: "cut for gateways", breaks: FaultProxy::cut, whom: [true, false] },
    Fault { name: "silence for gateways", breaks: FaultProxy::hang, whom: [true, false] },
    Fault { name: "cut for workers", breaks: FaultProxy::cut, whom: [false, true] },
    Fault { name: "silence for workers", breaks: FaultProxy::hang, whom: [false, true] },
    Fault { name: "150 ms more for all", breaks: |p| p.delay(Duration::from_millis(150)), whom: [true, true] },
];

impl Fault {
    fn proxies<'a>(&self, cluster: &'a Cluster) -> Vec<&'a FaultProxy> {
        let [gateways, workers] = self.whom;
        let of_gateways = (0..2).map(|i| cluster.gateway_proxy(i)).filter(|_| gateways);
        of_gateways.chain((0..2).map(|i| cluster.worker_proxy(i)).filter(|_| workers)).collect()
    }
}

/// A third enrols, a third searches, a third leaves a job behind.
fn mixed(client: &Client, others: &Client, round: usize, i: usize, photo: &Bytes) -> reqwest::RequestBuilder {
    let client = if i.is_multiple_of(2) { client } else { others };
    let request = match i % 3 {
        0 => client
            .request("POST", "/v1/collections/c/subjects")
            .json(&enrolment(&format!("s{round}-{i}"), std::slice::from_ref(photo))),
        1 => client.request("POST", "/v1/embeddings").header("content-type", "image/png").body(photo.clone()),
        _ => client
            .request("POST", "/v1/collections/c/subjects")
            .header("prefer", "respond-async")
            .json(&enrolment(&format!("j{round}-{i}"), std::slice::from_ref(photo))),
    };
    request.header("x-deadline-ms", DEADLINE.as_millis().to_string())
}

/// Breaks while load runs, heals, and sees that it works again; gives what was acknowledged.
async fn endure(cluster: &Cluster, round: usize, lasting: Duration, wrong: &mut Vec<String>) -> BTreeSet<String> {
    let fault = &FAULTS[round];
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let (before, after) = (Duration::from_secs(1), Duration::from_secs(1));
    let load = tokio::spawn({
        let (first, second, photo) = (clients[0].clone(), clients[1].clone(), photo.clone());
        async move { at_rate(&first, 9.0, before + lasting + after, |c, i| mixed(c, &second, round, i, &photo)).await }
    });
    tokio::time::sleep(before).await;
    fault.proxies(cluster).into_iter().for_each(fault.breaks);
    tokio::time::sleep(lasting).await;
    fault.proxies(cluster).into_iter().for_each(FaultProxy::heal);
    let recovered = recovered(&clients, &photo).await;
    let outcomes = load.await.expect("the load ends");
    let refused = outcomes.iter().filter(|o| !o.succeeded()).count();
    println!("{}: {refused} of {} refused, served again after {recovered:.2?}", fault.name, outcomes.len());
    println!("    {}", Summary(&outcomes));
    let refusals = outcomes.iter().filter(|o| !o.succeeded());
    let dishonest = refusals.clone().filter(|o| !HONEST.contains(&(o.status, o.code.as_str())));
    let late = refusals.filter(|o| o.took > DEADLINE + Duration::from_secs(1));
    wrong.extend(dishonest.map(|o| format!("{}: not an honest refusal: {} {}", fault.name, o.status, o.code)));
    wrong.extend(late.map(|o| format!("{}: {} {} only after {:.1?}", fault.name, o.status, o.code, o.took)));
    if recovered > RECOVERY {
        wrong.push(format!("{}: served again only after {recovered:.1?}", fault.name));
    }
    settled(&clients[0], round, &outcomes).await
}

/// Time until both gateways serve again, by way of a worker.
async fn recovered(clients: &[Client; 2], photo: &Bytes) -> Duration {
    let began = Instant::now();
    for client in clients {
        loop {
            let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png");
            let answer = client.send(request.header("x-deadline-ms", "1000").body(photo.clone())).await;
            if answer.status == 200 || began.elapsed() > 2 * RECOVERY {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    began.elapsed()
}

/// Waits for the end of every job that was accepted, and gives the subjects that must be there.
async fn settled(client: &Client, round: usize, outcomes: &[Outcome]) -> BTreeSet<String> {
    let mut enrolled = BTreeSet::new();
    for outcome in outcomes {
        match outcome.status {
            201 => {
                enrolled.insert(format!("s{round}-{}", outcome.number));
            }
            202 => {
                let job = outcome.answer.as_ref().map(|a| a.header("location").to_owned()).unwrap_or_default();
                let began = Instant::now();
                let state = loop {
                    let shown = client.get(&job).await.ok();
                    match shown["state"].as_str() {
                        Some("queued" | "running") => {
                            assert!(began.elapsed() < Duration::from_secs(60), "a job was lost: {shown}");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                        _ => break shown,
                    }
                };
                assert_eq!(state["state"], "succeeded", "{state}");
                enrolled.insert(format!("j{round}-{}", outcome.number));
            }
            _ => {}
        }
    }
    enrolled
}

async fn faults(rounds: &[usize], lasting: Duration) {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { nginx: false, proxied: true, ..ClusterOptions::default() });
    let client = cluster.gateway(0).client();
    drop(client.create_collection("c").await);
    let (mut kept, mut wrong) = (BTreeSet::new(), Vec::new());
    for round in rounds {
        kept.extend(endure(&cluster, *round, lasting, &mut wrong).await);
    }
    let listed = client.subjects("c").await;
    let lost: Vec<_> = kept.difference(&listed).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let stats = client.get("/v1/collections/c/stats").await.ok();
    assert_eq!(stats["faces"], listed.len(), "an enrolment took effect twice or by halves: {stats}");
    println!(
        "{} acknowledged, all there; {} of {} unanswered took effect",
        kept.len(),
        listed.len() - kept.len(),
        listed.len()
    );
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_and_a_silence_lose_nothing_and_end_by_themselves() {
    faults(&[0, 1], Duration::from_secs(2)).await;
}

/// `cargo test -p visavis-tests --test chaos -- --ignored --nocapture every_fault`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "some minutes"]
async fn every_fault_for_longer_than_a_lease_loses_nothing() {
    faults(&[0, 1, 2, 3, 4, 5, 6], Duration::from_secs(20)).await;
}
