//! What sealing costs: enrolments and searches a second of a service that seals and of one that does not, in turn, so
//! that both meet the same machine.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::{AppOptions, Client, Cluster, ClusterOptions, Person, Picture, TestApp};
use tokio::task::JoinSet;

use crate::ALONE;

/// Rounds of each kind on each service; the first is not counted.
const ROUNDS: usize = 13;
/// Requests of a round.
const REQUESTS: usize = 48;
/// Callers at once.
const CALLERS: usize = 4;

fn off() -> Vec<(String, String)> {
    vec![("VISAVIS__SEALING__MODE".to_owned(), "off".to_owned())]
}

/// One round: requests a second.
async fn round(client: &Client, kind: &'static str, (round, photo): (usize, Arc<Bytes>)) -> f64 {
    let (began, mut callers) = (Instant::now(), JoinSet::new());
    for caller in 0..CALLERS {
        let (client, photo) = (client.clone(), Arc::clone(&photo));
        callers.spawn(async move {
            for n in 0..REQUESTS / CALLERS {
                if kind == "enrol" {
                    let id = format!("s{round}-{caller}-{n}");
                    drop(client.enrol("staff", &id, std::slice::from_ref(&photo)).await.expect(201));
                } else {
                    drop(client.identify("staff", &photo).await.ok());
                }
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.expect("no request failed");
    }
    REQUESTS as f64 / began.elapsed().as_secs_f64()
}

/// Median of the ratios of sealed to plain, round by round, and their quartiles.
async fn compare(what: &str, [sealed, plain]: [Client; 2]) {
    let photo = Arc::new(Picture::decode(&Person::Astronaut.photo()).at_most(320).png());
    for client in [&sealed, &plain] {
        drop(client.create_collection("staff").await);
    }
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut rates: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for n in 0..ROUNDS {
        for kind in ["enrol", "identify"] {
            let mut rate = [0.0; 2];
            // Who goes first changes, so that neither has the warmer machine.
            for i in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
                tokio::time::sleep(Duration::from_millis(50)).await;
                rate[i] = round([&sealed, &plain][i], kind, (n, Arc::clone(&photo))).await;
            }
            if n > 0 {
                ratios.entry(kind).or_default().push(rate[0] / rate[1]);
                let sums = rates.entry(kind).or_default();
                sums.iter_mut().zip(rate).for_each(|(sum, r)| *sum += r / (ROUNDS - 1) as f64);
            }
        }
    }
    for (kind, mut all) in ratios {
        all.sort_by(f64::total_cmp);
        let at = |part: f64| 100.0 * (all[((all.len() - 1) as f64 * part).round() as usize] - 1.0);
        let [with, without] = rates[kind];
        println!(
            "{what}, {kind}: sealed {with:.1}/s, plain {without:.1}/s; by rounds {:+.1} % (quartiles {:+.1} to {:+.1})",
            at(0.5),
            at(0.25),
            at(0.75)
        );
    }
}

/// `cargo test --release -p visavis-tests --test cluster -- --ignored --nocapture what_sealing_costs`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of some minutes"]
async fn what_sealing_costs() {
    let _alone = ALONE.lock().await;
    {
        let sealed = TestApp::start();
        let plain = TestApp::start_with(AppOptions { environment: off(), ..AppOptions::default() });
        compare("embedded", [sealed.client(), plain.client()]).await;
    }
    let options = ClusterOptions { gateways: 1, workers: 1, nginx: false, ..ClusterOptions::default() };
    let sealed = Cluster::start(options.clone());
    let plain = Cluster::start(ClusterOptions { environment: off(), ..options });
    compare("on Redis", [sealed.client(), plain.client()]).await;
}
