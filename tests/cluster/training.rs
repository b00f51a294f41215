//! Training runs on many processes: a policy starts one run, whichever workers enrol; a trainer that is killed again and
//! again leaves its run to the next.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::{task::JoinSet, time::Instant};

use crate::ALONE;

/// Longest time for what takes a moment.
const LONG: Duration = Duration::from_secs(60);

/// A cluster whose processes keep objects in one folder.
fn cluster(options: ClusterOptions) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let place = ("VISAVIS__OBJECTS__URL".to_owned(), folder.path().display().to_string());
    let environment = options.environment.iter().cloned().chain([place]).collect();
    (Cluster::start(ClusterOptions { nginx: false, environment, ..options }), folder)
}

/// An enrolment whose consent allows training.
fn trainable(subject: &str, images: &[Bytes]) -> Value {
    let mut body = enrolment(subject, images);
    body["consent"]["training_allowed"] = json!(true);
    body
}

async fn runs(client: &Client) -> Vec<Value> {
    client.get("/v1/training-runs").await.ok()["items"].as_array().expect("items").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_starts_one_run_whichever_workers_enrol() {
    let _alone = ALONE.lock().await;
    let (cluster, _folder) = cluster(ClusterOptions::default());
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    let policy = json!({"auto": true, "new_templates": 4, "recipe": "fine-tune-tail"});
    let body = json!({"id": "auto", "purposes": ["access_control"], "retain_crops": "training", "training": policy});
    drop(clients[0].post("/v1/collections", &body).await.expect(201));
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(200).png();
    let enrol = async |names: &[&str], trains: bool| {
        let mut under_way = JoinSet::new();
        for (n, name) in names.iter().enumerate() {
            let mut body = trainable(name, std::slice::from_ref(&photo));
            body["consent"]["training_allowed"] = json!(trains);
            let client = clients[n % 2].clone();
            under_way.spawn(async move {
                drop(client.post("/v1/collections/auto/subjects", &body).await.expect(201));
            });
        }
        under_way.join_all().await;
    };
    // Three agree and three do not: too few.
    enrol(&["a", "b", "c"], true).await;
    enrol(&["x", "y", "z"], false).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(runs(&clients[0]).await, Vec::<Value>::new());
    // More than enough, on both workers at once.
    enrol(&["d", "e", "f", "g", "h", "i"], true).await;
    let began = Instant::now();
    while runs(&clients[1]).await.is_empty() {
        assert!(began.elapsed() < LONG, "the policy starts no run");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let found = runs(&clients[0]).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["origin"], &found[0]["collections"], &found[0]["recipe"], &found[0]["state"]),
        (&json!("policy"), &json!(["auto"]), &json!("fine-tune-tail"), &json!("queued"))
    );
    let waiting = cluster.gateway(0).metric("visavis_queue_depth", "lane=\"train\"").await;
    assert!((waiting - 1.0).abs() < 0.5, "{waiting} on the lane");
}
