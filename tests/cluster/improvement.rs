//! The whole way, with the training engine as it is: people are enrolled, a run learns from those who agree, its candidate
//! is held against the champion, takes its place while people are looked for, and gives it back.

use std::time::{Duration, Instant};

use domain::{CollectionId, TenantId};
use serde_json::{Value, json};
use store::Pepper;
use testkit::{Client, Cluster};

use crate::{
    ALONE,
    candidates::emptied,
    decision, inside,
    promotion::{cluster, generations},
    switching::{beside, done, never_across_models, place, promote, refused, somebody, staff},
};

const PEOPLE: usize = 100;
/// Longest time for a run.
const LONG: Duration = Duration::from_secs(420);

/// What the service calls a subject where it names nobody.
async fn handle(cluster: &Cluster, subject: &str) -> String {
    let (tenant, collection): (TenantId, CollectionId) =
        ("default".parse().expect("an id"), "staff".parse().expect("an id"));
    let pepper = Pepper::load(&*inside::store(cluster).await).await.expect("a pepper");
    pepper.handle(&tenant, &collection, &subject.parse().expect("an id")).to_string()
}

/// A run of a few epochs over the collection; how it ended.
async fn trained(client: &Client) -> Value {
    let overrides = json!({"epochs": 2, "batch.size": 16, "batch.micro": 16, "tail.share": 0.1});
    let body = json!({"collections": ["staff"], "recipe": "fine-tune-tail", "overrides": overrides});
    let run = client.post("/v1/training-runs", &body).await.expect(202).header("location").to_owned();
    let began = Instant::now();
    loop {
        let now = client.get(&run).await.ok();
        if ["done", "failed", "cancelled"].iter().any(|s| now["state"] == *s) {
            println!("the run: {} after {:?}", now["state"], began.elapsed());
            return now;
        }
        assert!(began.elapsed() < LONG, "the run does not end: {now}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// `cargo test -p visavis-tests --test cluster improvement -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a hundred people, a training and a promotion; takes some minutes"]
async fn a_hundred_people_are_learnt_from_and_what_comes_of_it_takes_over() {
    let _alone = ALONE.lock().await;
    let made = tokio::task::spawn_blocking(|| emptied("damaged"));
    let (cluster, _objects) = cluster(1).await;
    let client = cluster.client();
    staff(&client, PEOPLE).await;
    // Enrolled, and not to be learnt from.
    drop(client.enrol("staff", "silent", &[somebody(PEOPLE)[0].clone()]).await.expect(201));

    let (seen, run) = beside(&client, trained(&client)).await;
    never_across_models(&seen, &["yunet+sface"]);
    assert_eq!(run["state"], "done", "{run}");
    let (learnt, held_out) = (&run["lineage"]["subjects"], &run["lineage"]["held_out_subjects"]);
    assert_eq!(learnt.as_u64().zip(held_out.as_u64()).map(|(a, b)| a + b), Some(PEOPLE as u64), "{run}");
    let lineage = client.get(&format!("/v1/training-runs/{}/lineage", run["id"].as_str().unwrap_or_default())).await;
    let lineage = lineage.expect(200).text();
    assert!(lineage.contains(&handle(&cluster, "p17").await), "{lineage}");
    assert!(!lineage.contains(&handle(&cluster, "silent").await), "who did not agree is in the dataset");

    let model = run["model_id"].as_str().expect("a candidate");
    let damaged = made.await.expect("a candidate");
    drop(damaged.register(&client, "damaged").await.expect(201));
    drop(client.patch("/v1/collections/staff", &json!({"promotion": {"without_crops": "leave"}})).await.expect(200));
    refused(&promote(&client, "damaged").await.expect(409));
    assert_eq!(place(&client, "damaged").await["state"], "evaluated");

    let began = Instant::now();
    let (seen, place) = beside(&client, async {
        drop(promote(&client, model).await.expect(202));
        done(&client, model).await
    })
    .await;
    println!("gate, {PEOPLE} people embedded anew, switch: {:?}", began.elapsed());
    assert_eq!((&place["state"], &place["promotion"]["switched"]), (&json!("champion"), &json!(true)), "{place}");
    let now = client.identify("staff", &somebody(50)[1]).await.ok();
    let version = now["model_version"].as_str().expect("a version").to_owned();
    assert!(version.ends_with(&format!("@{model}")), "{now}");
    never_across_models(&seen, &["yunet+sface", &version]);
    assert_eq!(generations(&cluster).await, [(1, 1), (2, 2 * PEOPLE)].into());
    // The score table is the candidate's own, from what the run measured.
    let table = now["threshold"]["calibration_id"].as_str().expect("a table");
    assert!(table.ends_with(&format!("+{model}")), "{now}");

    let (seen, found) = beside(&client, async {
        let rollback = format!("/v1/models/{model}/rollback");
        drop(client.post(&rollback, &json!({"collection_id": "staff"})).await.expect(200));
        client.identify("staff", &somebody(50)[1]).await.ok()
    })
    .await;
    assert_eq!((decision(&found).1, &found["model_version"]), ("p50", &json!("yunet+sface")), "{found}");
    never_across_models(&seen, &["yunet+sface", &version]);
}
