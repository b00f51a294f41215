//! Stops and restarts that are meant, under load: nothing is lost, and callers who repeat what they were told to repeat
//! notice nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::task::{JoinSet, block_in_place};

use crate::ALONE;

/// Longest time a process may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(20);
/// Longer than `fail_timeout` of `deploy/nginx`.
const LEFT_OUT: Duration = Duration::from_millis(2500);
/// How often a caller repeats a request before it gives up.
const REPETITIONS: usize = 40;

/// What one sender saw.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: Vec<String>,
    repeated: usize,
    searches: usize,
    failures: Vec<String>,
}

/// Enrols under a key, repeating as the problem says, and looks for somebody, until told to stop.
async fn send(client: Client, sender: usize, photo: Bytes, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("s{sender}-{i}");
        let body = enrolment(&id, std::slice::from_ref(&photo));
        for attempt in 0..=REPETITIONS {
            let request = client.request("POST", "/v1/collections/staff/subjects").header("idempotency-key", &id);
            let answer = client.try_send(request.json(&body)).await;
            let why = match answer {
                Ok(answer) if answer.status == 201 => {
                    seen.acknowledged.push(id.clone());
                    break;
                }
                Ok(answer) => {
                    let again =
                        answer.json["retryable"] == Value::Bool(true) || !answer.header("retry-after").is_empty();
                    let why = format!("{} {}", answer.status, answer.text());
                    if !again {
                        seen.failures.push(why);
                        break;
                    }
                    why
                }
                Err(e) => format!("{e:?}"),
            };
            seen.repeated += 1;
            if attempt == REPETITIONS {
                seen.failures.push(format!("{id} after {attempt} repetitions: {why}"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        match client.identify("staff", &photo).await {
            answer if answer.status == 200 => seen.searches += 1,
            answer => seen.failures.push(format!("identify: {} {}", answer.status, answer.text())),
        }
    }
    seen
}

/// Runs load while `upheaval` happens; nothing may be lost, and nobody may be told a final error.
async fn under_load(cluster: &mut Cluster, upheaval: impl FnOnce(&mut Cluster)) {
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(200).png();
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..4 {
        senders.spawn(send(client.clone(), sender, photo.clone(), Arc::clone(&stop)));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    block_in_place(|| upheaval(cluster));
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let seen = senders.join_all().await;
    let listed = client.subjects("staff").await;
    let [acknowledged, repeated, searches] = [
        seen.iter().map(|s| s.acknowledged.len()).sum::<usize>(),
        seen.iter().map(|s| s.repeated).sum(),
        seen.iter().map(|s| s.searches).sum(),
    ];
    println!("{acknowledged} enrolments acknowledged, {repeated} requests repeated, {searches} searches");
    let failures: Vec<_> = seen.iter().flat_map(|s| &s.failures).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    let lost: Vec<_> = seen.iter().flat_map(|s| &s.acknowledged).filter(|id| !listed.contains(*id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let stats = client.get("/v1/collections/staff/stats").await.ok();
    assert_eq!(stats["faces"], listed.len(), "an enrolment has taken effect twice: {stats}");
}

/// Asks a process to end and starts it again once it has.
fn replace(what: &str, service: &mut testkit::Service) {
    let began = Instant::now();
    service.terminate();
    assert_eq!(service.wait(), Some(0), "{what} did not end well");
    let ended = began.elapsed();
    assert!(ended < GRACE, "{what} took {ended:?} to end");
    service.restart();
    println!("{what}: ended in {ended:.1?}, served again after {:.1?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_process_is_replaced_under_load_and_nothing_is_lost() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions::default());
    under_load(&mut cluster, |cluster| {
        for i in 0..2 {
            replace(&format!("worker {i}"), cluster.worker_mut(i));
            replace(&format!("gateway {i}"), cluster.gateway_mut(i));
            // For as long as nginx leaves a gateway out that was away.
            std::thread::sleep(LEFT_OUT);
        }
    })
    .await;
}

/// Ends a process and starts it again from another binary; none for the one under test.
fn exchange(what: &str, service: &mut testkit::Service, binary: Option<&std::path::Path>) {
    service.terminate();
    assert_eq!(service.wait(), Some(0), "{what} did not end well");
    service.restart_as(binary.map(std::path::Path::to_owned));
    let which = if binary.is_some() { "old" } else { "new" };
    println!("{what} is {which} now");
    std::thread::sleep(LEFT_OUT);
}

/// A former release and the present one on one Redis, under load, each for a while beside the other: workers first, then
/// gateways, and back in the opposite order (ADR 23). `loadtests/rehearse COMMIT` builds the former release and runs this.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a former release: loadtests/rehearse COMMIT"]
async fn an_upgrade_and_its_rollback_under_load_lose_nothing() {
    let _alone = ALONE.lock().await;
    let old = std::path::PathBuf::from(std::env::var_os("VISAVIS_OLD_BIN").expect("VISAVIS_OLD_BIN names the binary"));
    let options = ClusterOptions { binary: Some(old.clone()), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    under_load(&mut cluster, |cluster| {
        (0..2).for_each(|i| exchange(&format!("worker {i}"), cluster.worker_mut(i), None));
        (0..2).for_each(|i| exchange(&format!("gateway {i}"), cluster.gateway_mut(i), None));
        (0..2).for_each(|i| exchange(&format!("gateway {i}"), cluster.gateway_mut(i), Some(&old)));
        (0..2).for_each(|i| exchange(&format!("worker {i}"), cluster.worker_mut(i), Some(&old)));
    })
    .await;
}
