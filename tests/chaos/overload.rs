//! Three times as many requests as can be done: those that are taken on are answered in time, the others are refused at
//! once, memory stays, and afterwards everything is as before.

use std::time::{Duration, Instant};

use testkit::{Client, Cluster, ClusterOptions, Person, Picture};

use crate::load::{ALONE, CONNECTIONS, Outcome, Summary, at_once, at_rate, one_address, quantile, quantile_of};

/// A request's deadline.
const DEADLINE: Duration = Duration::from_secs(2);
/// What the way there and back may add, on a machine that has much else to do.
const TRAVEL: Duration = Duration::from_millis(250);
/// What a refusal may take.
const REFUSAL: Duration = Duration::from_millis(50);
/// How long the capacity is measured.
const MEASURE: Duration = Duration::from_secs(2);
/// Memory a process may gain under overload.
const GROWTH: u64 = 96 << 20;

fn request(client: &Client, photo: &bytes::Bytes) -> reqwest::RequestBuilder {
    let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png");
    request.header("x-deadline-ms", DEADLINE.as_millis().to_string()).body(photo.clone())
}

/// Requests a second that are answered with so many at once.
async fn capacity(client: &Client, photo: &bytes::Bytes, lasting: Duration) -> f64 {
    let began = Instant::now();
    let photo = photo.clone();
    let enough = move |_| began.elapsed() > lasting;
    let outcomes = at_once(client, 8, enough, move |c, _| request(c, &photo)).await;
    assert!(outcomes.iter().all(Outcome::succeeded), "{}", Summary(&outcomes));
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let rate = outcomes.len() as f64 / began.elapsed().as_secs_f64();
    rate
}

/// Resident bytes of every process.
fn memory(cluster: &Cluster) -> Vec<(String, u64)> {
    let of = |name: &str, i: usize, m: Option<testkit::Memory>| (format!("{name} {i}"), m.map_or(0, |m| m.resident));
    let mut all: Vec<_> = cluster.gateways().enumerate().map(|(i, s)| of("gateway", i, s.memory())).collect();
    all.extend(cluster.workers().enumerate().map(|(i, s)| of("worker", i, s.memory())));
    all.push(of("redis", 0, cluster.redis().memory()));
    all
}

/// Refusals as each of those saw them that they pass: how long they took.
struct Refusals {
    /// The caller, from the moment its request was due.
    caller: Vec<Duration>,
    /// How late it sent those.
    behind: Vec<Duration>,
    /// nginx, from the request's first byte.
    nginx: Vec<Duration>,
    /// nginx, waiting for the gateway.
    upstream: Vec<Duration>,
    /// The gateways: refused, and refused within [`REFUSAL`].
    gateways: [f64; 2],
}

impl Refusals {
    fn of(cluster: &Cluster, outcomes: &[&Outcome], since: usize, before: [f64; 2], after: [f64; 2]) -> Self {
        let refused = || outcomes.iter().filter(|o| o.status == 503);
        let lines = cluster.nginx().requests();
        let lines: Vec<_> = lines.iter().skip(since).filter(|l| l["status"] == 503).collect();
        let seconds = |v: &serde_json::Value| {
            let seconds = v.as_f64().or_else(|| v.as_str()?.parse().ok()).unwrap_or_default();
            Duration::from_secs_f64(seconds)
        };
        Self {
            caller: refused().map(|o| o.took).collect(),
            behind: refused().map(|o| o.behind).collect(),
            nginx: lines.iter().map(|l| seconds(&l["seconds"])).collect(),
            upstream: lines.iter().map(|l| seconds(&l["gateway_seconds"])).collect(),
            gateways: [after[0] - before[0], after[1] - before[1]],
        }
    }

    fn show(&self) {
        let two = |times: &Vec<Duration>| {
            let [p50, p99] = [0.5, 0.99].map(|q| quantile_of(times.clone(), q).as_secs_f64() * 1e3);
            format!("p50 {p50:.1} ms, p99 {p99:.1} ms")
        };
        println!("refusals at the caller: {} (sent late by {})", two(&self.caller), two(&self.behind));
        println!("refusals at nginx: {}, of which its gateway {}", two(&self.nginx), two(&self.upstream));
        println!("refusals at the gateways: {:.2} % within {REFUSAL:?}", self.within() * 100.0);
    }

    /// The share that the gateways refused quickly.
    fn within(&self) -> f64 {
        self.gateways[1] / self.gateways[0].max(1.0)
    }
}

/// Refusals of all gateways so far, and those within [`REFUSAL`].
async fn refusals(cluster: &Cluster) -> [f64; 2] {
    let mut both = [0.0; 2];
    for gateway in cluster.gateways() {
        both[0] += gateway.metric("visavis_refusal_duration_seconds_count", "").await;
        both[1] += gateway.metric("visavis_refusal_duration_seconds_bucket", "le=\"0.05\"").await;
    }
    both
}

/// What may go wrong. Other work on the machine takes capacity away faster than a short run lets the gateways notice,
/// and keeps the caller from its own clock.
struct Allowed {
    /// The share of those taken on that may miss their deadline.
    late: f64,
    /// The share of refusals that may take a gateway longer than [`REFUSAL`].
    slow: f64,
    /// What 99 % of the refusals may take as the caller sees it.
    at_caller: Duration,
}

async fn overloaded(lasting: Duration, allowed: Allowed) {
    let _alone = ALONE.lock().await;
    // As an operator sets it on a machine that does both: inference waits for refusals, never the other way round.
    let cluster = Cluster::start(ClusterOptions {
        worker_niceness: 10,
        nginx_variables: one_address(),
        ..ClusterOptions::default()
    });
    // All that is under way at once must be the service's: it is what takes up to a deadline, and more than a stream
    // of one connection for each.
    let client = cluster.crowd(CONNECTIONS);
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let before = capacity(&client, &photo, MEASURE).await;
    // What the first overload takes stays with the allocator: the second must not take more.
    drop(at_rate(&client, 3.0 * before, Duration::from_secs(2), |c, _| request(c, &photo)).await);
    let at_first = memory(&cluster);
    let (refused_before, lines_before) = (refusals(&cluster).await, cluster.nginx().requests().len());
    let outcomes = at_rate(&client, 3.0 * before, lasting, |c, _| request(c, &photo)).await;
    let refused_after = refusals(&cluster).await;
    let at_last = memory(&cluster);
    let after = capacity(&client, &photo, MEASURE).await;

    println!("{before:.0} requests a second; at three times that: {}", Summary(&outcomes));
    println!("afterwards {after:.0} requests a second");
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| o.succeeded());
    for outcome in &refused {
        let honest =
            matches!((outcome.status, outcome.code.as_str()), (503, "overloaded") | (504, "deadline_exceeded"));
        assert!(honest, "{outcome:?}");
    }
    let missed = refused.iter().filter(|o| o.status == 504).count();
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let (goodput, late_share) =
        (done.len() as f64 / lasting.as_secs_f64() / before, missed as f64 / (done.len() + missed).max(1) as f64);
    println!("goodput {:.0} % of capacity, {:.2} % of those taken on were late", goodput * 100.0, late_share * 100.0);
    let accepted = quantile(done.iter().copied(), 0.99);
    let refusals = Refusals::of(&cluster, &refused, lines_before, refused_before, refused_after);
    refusals.show();
    for ((name, first), (_, last)) in at_first.iter().zip(&at_last) {
        println!("{name}: {} MiB, then {} MiB", first >> 20, last >> 20);
        assert!(*last < first + GROWTH, "{name} grew from {first} to {last} bytes");
    }
    assert!(accepted < DEADLINE + TRAVEL, "p99 of what was answered: {accepted:?}");
    assert!(late_share < allowed.late, "{missed} of those taken on were late");
    let slow = 1.0 - refusals.within();
    assert!(slow < allowed.slow, "{:.1} % of the refusals took the gateways over {REFUSAL:?}", slow * 100.0);
    let refusal = quantile_of(refusals.caller, 0.99);
    assert!(refusal < allowed.at_caller, "p99 of a refusal: {refusal:?}");
    assert!(goodput > 0.5, "only {goodput:.2} of the capacity did good");
    // Other work on the machine moves both.
    assert!(after > 0.5 * before, "{before:.0} requests a second before, {after:.0} after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_three_times_the_capacity_some_are_refused_at_once_and_the_rest_are_in_time() {
    let allowed = Allowed { late: 0.25, slow: 0.25, at_caller: 20 * REFUSAL };
    overloaded(Duration::from_secs(6), allowed).await;
}

/// `cargo test -p visavis-tests --test chaos -- --ignored --nocapture a_minute_at_three_times`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "over a minute"]
async fn a_minute_at_three_times_the_capacity_changes_nothing() {
    overloaded(Duration::from_secs(60), Allowed { late: 0.01, slow: 0.01, at_caller: REFUSAL }).await;
}
