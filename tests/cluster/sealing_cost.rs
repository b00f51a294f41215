//! What sealing costs: enrolments and searches a second of a service that seals and of one that does not, in turn, so
//! that both meet the same machine; and the processor time of each request, which other work on the machine blurs less.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use testkit::{AppOptions, Client, Cluster, ClusterOptions, Person, Picture, Service, TestApp};
use tokio::task::JoinSet;

use crate::ALONE;

/// Rounds of each kind on each service; the first is not counted.
const ROUNDS: usize = 13;
/// Requests of a round.
const REQUESTS: usize = 96;
/// Callers at once.
const CALLERS: usize = 4;

fn off() -> Vec<(String, String)> {
    vec![("VISAVIS__SEALING__MODE".to_owned(), "off".to_owned())]
}

/// A service under measurement.
struct Side {
    client: Client,
    /// All its processes, the server's among them.
    processes: Vec<u32>,
}

impl Side {
    fn alone(app: &TestApp) -> Self {
        Self { client: app.client(), processes: vec![app.pid()] }
    }

    fn shared(cluster: &Cluster) -> Self {
        let services = cluster.gateways().chain(cluster.workers()).map(Service::pid);
        Self { client: cluster.client(), processes: services.chain([cluster.redis().pid()]).collect() }
    }

    /// Milliseconds of processor time used so far by all threads (Linux; nothing elsewhere). Not those of `stat`, which
    /// counts in hundredths of a second for each process: too coarse for a round.
    fn used(&self) -> f64 {
        let of = |pid: &u32| -> f64 {
            let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
            let of_one = |thread: std::fs::DirEntry| -> Option<f64> {
                let told = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
                told.split_whitespace().next()?.parse().ok()
            };
            threads.flatten().filter_map(of_one).sum()
        };
        self.processes.iter().map(of).sum::<f64>() / 1e6
    }

    /// One round: requests a second, and milliseconds of processor time of each.
    async fn round(&self, kind: &'static str, (round, photo): (usize, &Arc<Bytes>)) -> [f64; 2] {
        let (began, used, mut callers) = (Instant::now(), self.used(), JoinSet::new());
        for caller in 0..CALLERS {
            let (client, photo) = (self.client.clone(), Arc::clone(photo));
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
        let requests = REQUESTS as f64;
        [requests / began.elapsed().as_secs_f64(), (self.used() - used) / requests]
    }
}

/// Prints the medians of both sides, and the median of the ratios of sealed to plain round by round.
async fn compare(what: &str, [sealed, plain]: [Side; 2]) {
    let photo = Arc::new(Picture::decode(&Person::Astronaut.photo()).at_most(320).png());
    for side in [&sealed, &plain] {
        drop(side.client.create_collection("staff").await);
    }
    // By kind and figure: of each counted round what was found sealed and plain.
    let mut found: BTreeMap<(&str, &str), Vec<[f64; 2]>> = BTreeMap::new();
    for n in 0..ROUNDS {
        for kind in ["enrol", "identify"] {
            let mut figures = [[0.0; 2]; 2];
            // Who goes first changes, so that neither has the warmer machine.
            for i in if n % 2 == 0 { [0, 1] } else { [1, 0] } {
                figures[i] = [&sealed, &plain][i].round(kind, (n, &photo)).await;
            }
            for (f, name) in ["requests/s", "ms of processor"].into_iter().enumerate().filter(|_| n > 0) {
                found.entry((kind, name)).or_default().push([figures[0][f], figures[1][f]]);
            }
        }
    }
    for ((kind, name), rounds) in found {
        let of = |f: fn(&[f64; 2]) -> f64| quartiles(rounds.iter().map(f).collect());
        let ([_, sealed, _], [_, plain, _]) = (of(|r| r[0]), of(|r| r[1]));
        let [low, median, high] = of(|r| 100.0 * (r[0] / r[1] - 1.0));
        println!("{what}, {kind}: {sealed:.2} {name} sealed, {plain:.2} plain: {median:+.1} % [{low:+.1}, {high:+.1}]");
    }
}

/// Quartiles and median.
fn quartiles(mut all: Vec<f64>) -> [f64; 3] {
    all.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| all[(all.len() - 1) * quarter / 4])
}

/// `cargo test --release -p visavis-tests --test cluster -- --ignored --nocapture what_sealing_costs`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of some minutes"]
async fn what_sealing_costs() {
    let _alone = ALONE.lock().await;
    {
        let sealed = TestApp::start();
        let plain = TestApp::start_with(AppOptions { environment: off(), ..AppOptions::default() });
        compare("embedded", [Side::alone(&sealed), Side::alone(&plain)]).await;
    }
    let options = ClusterOptions { gateways: 1, workers: 1, nginx: false, ..ClusterOptions::default() };
    let sealed = Cluster::start(options.clone());
    let plain = Cluster::start(ClusterOptions { environment: off(), ..options });
    compare("on Redis", [Side::shared(&sealed), Side::shared(&plain)]).await;
}
