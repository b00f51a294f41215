//! One tenant takes all it can get, interactive and bulk; another asks for little and gets it in time.

use std::time::{Duration, Instant};

use domain::{ApiKey, KeyId, Scope, TenantId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::ApiKeys;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, encoded};

use crate::{
    events::submit,
    inside,
    load::{ALONE, CONNECTIONS, Outcome, Summary, at_once, at_rate, one_address, quantile},
};

/// What the quiet tenant allows for an answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// What the way there and back may add, on a machine that has much else to do.
const TRAVEL: Duration = Duration::from_millis(250);
/// Part of the capacity that the quiet tenant asks for.
const SHARE: f64 = 0.08;
/// How many times the capacity the other one asks for; what is measured first is rather too little than too much.
const OVER: f64 = 4.0;

fn request(client: &Client, photo: &bytes::Bytes, deadline: Option<Duration>) -> reqwest::RequestBuilder {
    let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png").body(photo.clone());
    deadline.into_iter().fold(request, |r, d| r.header("x-deadline-ms", d.as_millis().to_string()))
}

/// An API key of another tenant, with every scope.
async fn key_of(cluster: &Cluster, tenant: &str) -> String {
    let secret = "0123456789abcdef0123456789abcdef";
    let (id, owner) = (KeyId::new(tenant).expect("an id"), TenantId::new(tenant).expect("an id"));
    let hash = hex::encode(Sha256::digest(secret));
    let key = ApiKey::new(id, owner, Scope::ALL.iter().copied().collect(), hash);
    ApiKeys::new(inside::store(cluster).await).create(&key).await.expect("a new key");
    format!("vv_{tenant}_{secret}")
}

/// `flood` is the deadline of the one who floods, the service's own if absent. The quiet one asks for `before` first,
/// which is not judged, then for `lasting`, when at most the share `wrong` may not be answered in time.
async fn flooded(flood: Option<Duration>, before: Duration, lasting: Duration, wrong: f64) {
    let _alone = ALONE.lock().await;
    let nginx_variables = one_address();
    let cluster = Cluster::start(ClusterOptions { worker_niceness: 10, nginx_variables, ..ClusterOptions::default() });
    let (greedy, crowd) = (cluster.client(), cluster.crowd(CONNECTIONS));
    let quiet = cluster.client().with_key(&key_of(&cluster, "quiet").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();

    let (began, picture) = (Instant::now(), photo.clone());
    let enough = move |_| began.elapsed() > Duration::from_secs(1);
    let measured = at_once(&greedy, 8, enough, move |c, _| request(c, &picture, None)).await;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let capacity = measured.len() as f64 / began.elapsed().as_secs_f64();

    // The gateways learn how fast work is done only while there is too much of it; so they do in the first flood.
    let first = Duration::from_secs(2);
    drop(at_rate(&crowd, OVER * capacity, first, |c, _| request(c, &photo, Some(DEADLINE))).await);
    drop(greedy.create_collection("staff").await);
    let people = (0..400).map(|i| {
        let consent = json!({"purposes": ["access_control"], "method": "web_form"});
        json!({"id": format!("p{i}"), "consent": consent, "images": [encoded(&photo)]})
    });
    let job = submit(&greedy, "bulk_enrol", "staff", &people.collect::<Vec<Value>>()).await;
    let head_start = Duration::from_secs(1);
    let flooding = tokio::spawn({
        let photo = photo.clone();
        let all = head_start + before + lasting;
        async move { at_rate(&crowd, OVER * capacity, all, |c, _| request(c, &photo, flood)).await }
    });
    tokio::time::sleep(head_start).await;
    let rate = (SHARE * capacity).max(2.0);
    let outcomes = at_rate(&quiet, rate, before + lasting, |c, _| request(c, &photo, Some(DEADLINE))).await;
    let flood = flooding.await.expect("the flood ends");
    let progress = greedy.get(&job).await.ok();

    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let judged: Vec<Outcome> =
        outcomes.into_iter().filter(|o| o.number as f64 / rate >= before.as_secs_f64()).collect();
    println!("{capacity:.0} requests a second can be done; bulk meanwhile {}", progress["progress"]);
    println!("the one who floods with {:.0} a second: {}", OVER * capacity, Summary(&flood));
    println!("the quiet one with {rate:.1} a second: {}", Summary(&judged));
    let p99 = quantile(judged.iter().filter(|o| o.succeeded()), 0.99);
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    let failed = judged.iter().filter(|o| !o.succeeded()).count() as f64 / judged.len().max(1) as f64;
    assert!(p99 < DEADLINE + TRAVEL, "p99 of the quiet one: {p99:?}");
    assert!(failed <= wrong, "{:.1} % of the quiet one's requests were refused or late", failed * 100.0);
    let refused = flood.iter().filter(|o| o.status == 503).count();
    assert!(refused > 0, "the flood was no flood: {}", Summary(&flood));
    assert!(progress["progress"]["succeeded"].as_u64() > Some(0), "the bulk job has starved: {progress}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_one_tenant_leaves_another_in_time() {
    flooded(Some(DEADLINE), Duration::ZERO, Duration::from_secs(3), 0.4).await;
}

/// With the service's own deadline, which lets the lane grow beyond what the quiet one can wait for until it comes.
/// `cargo test -p visavis-tests --test chaos -- --ignored --nocapture a_minute_beside_a_flood`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "over a minute"]
async fn a_minute_beside_a_flood_changes_nothing() {
    flooded(None, Duration::from_secs(15), Duration::from_secs(60), 0.01).await;
}
