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

/// Subjects that agree, each with two pictures.
const SUBJECTS: usize = 10;

/// Enrols them; the labels mean little, but that the training goes on and on.
async fn crowd(client: &Client) {
    let body =
        json!({"id": "staff", "purposes": ["access_control"], "retain_crops": "training", "quality_gate": "none"});
    drop(client.post("/v1/collections", &body).await.expect(201));
    let mut under_way = JoinSet::new();
    for n in 0..SUBJECTS {
        let picture = Picture::decode(&Person::ALL[n % 3].photo()).at_most(240);
        let lighter = picture.brightened(1.0 + 0.02 * n as f32);
        let body = trainable(&format!("zq8-subject-{n}"), &[lighter.png(), lighter.mirrored().png()]);
        let client = client.clone();
        under_way.spawn(async move {
            drop(client.post("/v1/collections/staff/subjects", &body).await.expect(201));
        });
    }
    under_way.join_all().await;
}

async fn start(client: &Client) -> String {
    start_with(client, "fine-tune-tail", ("tail.share", json!(0.1))).await
}

async fn start_with(client: &Client, recipe: &str, (setting, value): (&str, Value)) -> String {
    let mut overrides = json!({
        "epochs": 3, "batch.size": 4, "batch.micro": 4, "checkpoint.seconds": 0, "validation.every": 1
    });
    overrides[setting] = value;
    let body = json!({"collections": ["staff"], "recipe": recipe, "overrides": overrides});
    client.post("/v1/training-runs", &body).await.expect(202).header("location").to_owned()
}

/// Waits until a run is as asked for.
async fn until(client: &Client, run: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let now = client.get(run).await.ok();
        if is(&now) {
            return now;
        }
        let ended = ["failed", "cancelled"].iter().any(|s| now["state"] == *s);
        assert!(!ended && began.elapsed() < 2 * LONG, "{what}: {now}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn step(run: &Value) -> u64 {
    run["progress"]["step"].as_u64().unwrap_or_default()
}

/// Checksum of the candidate that a run came to.
async fn candidate(client: &Client, run: &Value) -> String {
    let id = run["model_id"].as_str().expect("a candidate");
    let model = client.get(&format!("/v1/models/{id}")).await.ok();
    assert_eq!(model["collections"], json!([]), "models in use do not change: {model}");
    model["sha256"].as_str().expect("a checksum").to_owned()
}

/// Starts a cluster whose trainer is soon taken for dead, with people to train on.
async fn cluster_to_train_in() -> (Cluster, TempDir) {
    let settings = [("MIN_IDLE_MS", "1500"), ("REPORT_EVERY_MS", "100"), ("THREADS", "1")];
    let trainer_environment = settings.map(|(k, v)| (format!("VISAVIS__TRAINER__{k}"), v.to_owned())).to_vec();
    let options = ClusterOptions { gateways: 1, workers: 1, trainers: 1, trainer_environment, ..Default::default() };
    let (cluster, folder) = cluster(options);
    crowd(&cluster.client()).await;
    (cluster, folder)
}

/// With the training engine as it is, on real pictures; with a stand-in for it services/trainer/tests has the same.
/// `cargo test --workspace --test cluster -- --ignored --nocapture a_trainer_killed_twice`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "most of a minute"]
async fn a_trainer_killed_twice_ends_with_the_same_weights_and_a_run_can_be_cancelled() {
    let _alone = ALONE.lock().await;
    let (mut cluster, folder) = cluster_to_train_in().await;
    let client = cluster.client();
    let whole = start(&client).await;
    let done = until(&client, &whole, "an undisturbed run", |r| r["state"] == "done").await;
    assert_eq!((&done["resumes"], &done["restarts"]), (&json!(0), &json!(0)), "{done}");
    let subjects = |part: &str| done["lineage"][part].as_u64().unwrap_or_default();
    assert_eq!(subjects("subjects") + subjects("held_out_subjects"), SUBJECTS as u64);
    let steps = done["progress"]["steps"].as_u64().expect("steps");
    assert!(steps >= 8, "too short to be killed in: {done}");
    let page = client.get(&format!("{whole}/report.html")).await.expect(200);
    assert!(page.text().contains("Before and after") && page.text().contains("polyline"));

    let run = start(&client).await;
    for (nth, at) in [(0, 2), (1, steps / 2)] {
        until(&client, &run, "a run to be killed", |r| r["resumes"] == nth && step(r) >= at).await;
        let trainer = cluster.trainer_mut(0);
        trainer.kill();
        trainer.restart();
    }
    let resumed = until(&client, &run, "a run killed twice", |r| r["state"] == "done").await;
    assert_eq!(resumed["resumes"], 2, "{resumed}");
    assert_eq!(candidate(&client, &resumed).await, candidate(&client, &done).await, "other weights");

    let run = start(&client).await;
    until(&client, &run, "a run to be cancelled", |r| step(r) >= 1).await;
    drop(client.delete(&run).await.expect(204));
    let began = Instant::now();
    while cluster.trainer(0).metric("visavis_training_active", "").await > 0.0 {
        assert!(began.elapsed() < LONG, "the trainer goes on with a cancelled run");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.get(&run).await.ok()["state"], "cancelled");
    let left = std::fs::read_dir(folder.path().join("training")).map_or(0, Iterator::count);
    assert!(left <= 1, "checkpoints are left");
    assert!(!cluster.trainer(0).output().contains("zq8"), "a subject in the log");
}

/// What the head learns from is no part of what a trainer keeps, so whoever goes on makes it anew.
/// `cargo test --workspace --test cluster -- --ignored --nocapture killed_at_the_head`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute"]
async fn a_trainer_killed_at_the_head_ends_with_the_same_weights() {
    let _alone = ALONE.lock().await;
    let (mut cluster, _folder) = cluster_to_train_in().await;
    let client = cluster.client();
    let views = ("head.views", json!(2));
    let whole = start_with(&client, "fine-tune-head", views.clone()).await;
    let done = until(&client, &whole, "an undisturbed run", |r| r["state"] == "done").await;

    let run = start_with(&client, "fine-tune-head", views).await;
    until(&client, &run, "a run to be killed", |r| step(r) >= 2).await;
    cluster.trainer_mut(0).kill();
    cluster.trainer_mut(0).restart();
    let resumed = until(&client, &run, "a run killed once", |r| r["state"] == "done").await;
    assert_eq!(resumed["resumes"], 1, "{resumed}");
    assert_eq!(candidate(&client, &resumed).await, candidate(&client, &done).await, "other weights");
}
