//! `/v1/training-runs`: what is accepted and refused, followed, cancelled, and whose it is. What a trainer does is written
//! here by hand.

use std::time::Duration;

use bytes::Bytes;
use domain::{JobKind, Lane, RunFailure, RunFailureCode, RunId, RunProgress, RunState, TenantId, Timestamp};
use queue::ConsumerOptions;
use reqwest::Method;
use serde_json::{Value, json};
use store::{Claim, Runs};

use crate::{
    app::{App, answer},
    events::Events,
};

const PATH: &str = "/v1/training-runs";

/// A collection that retains crops, as a service with a place for them would have it.
async fn retaining(app: &App, id: &str) {
    app.collection(id).await;
    let collections = store::Collections::new(app.store.clone());
    let (tenant, id) = (tenant(), id.parse().unwrap());
    let mut found = collections.get(&tenant, &id).await.unwrap().unwrap().value;
    found.retain_crops = domain::RetainCrops::Training;
    collections.update(&tenant, &found, None).await.unwrap();
}

fn tenant() -> TenantId {
    "default".parse().unwrap()
}

fn runs(app: &App) -> Runs {
    Runs::new(app.store.clone(), &tenant())
}

async fn started(app: &App, body: Value) -> (RunId, Value) {
    let run = app.post(PATH, body).await.expect(202);
    (run["id"].as_str().unwrap().parse().unwrap(), run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_kept_listed_and_on_the_lane_once() {
    let app = App::start().await;
    retaining(&app, "staff").await;
    let body = json!({
        "collections": ["staff", "staff"], "recipe": "fine-tune-tail", "purpose": "access_control",
        "overrides": {"schedule.epochs": 3, "optimiser.rate": 0.01, "ema": true}
    });
    let request = || app.call(Method::POST, PATH).header("idempotency-key", "k1").json(&body);
    let first = answer(request()).await;
    let location = first.header("location").to_owned();
    let run = first.expect(202);
    assert_eq!(location, format!("{PATH}/{}", run["id"].as_str().unwrap()));
    assert_eq!(
        (&run["state"], &run["collections"], &run["base_model"], &run["origin"], &run["recipe"]),
        (&json!("queued"), &json!(["staff"]), &json!("champion"), &json!("request"), &json!("fine-tune-tail"))
    );
    assert_eq!(run["overrides"], json!({"schedule.epochs": 3, "optimiser.rate": 0.01, "ema": true}));
    // The same again has no further effect.
    assert_eq!(answer(request()).await.expect(202)["id"], run["id"]);
    assert_eq!(app.get(&location).await.expect(200), run);
    assert_eq!(app.get(PATH).await.expect(200)["items"], json!([run]));
    assert_eq!(app.queue.depth(Lane::Train).await.unwrap().waiting, 1);
    let consumer = app.queue.consumer(Lane::Train, ConsumerOptions::default());
    let delivery = consumer.next(1).await.unwrap().remove(0);
    assert_eq!(
        (delivery.envelope.job_id.as_str(), delivery.envelope.tenant.as_str()),
        (run["id"].as_str().unwrap(), "default")
    );
    assert_eq!(wire::job_kind(&delivery.envelope), Some(JobKind::Train));
    assert!(Runs::open(&*app.store).await.unwrap().iter().any(|(_, id)| run["id"] == id.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_trainer_could_follow_is_refused_by_name() {
    let app = App::start().await;
    retaining(&app, "staff").await;
    app.collection("plain").await;
    let post = async |body: Value| app.post(PATH, body).await;
    post(json!({"collections": []})).await.problem(400, "invalid_request", "1 to 16");
    post(json!({"collections": ["nobody"]})).await.problem(404, "collection_not_found", "nobody");
    post(json!({"collections": ["plain"]})).await.problem(409, "conflict", "retains no crops");
    post(json!({"collections": ["staff"], "purpose": "payroll"})).await.problem(403, "purpose_not_allowed", "payroll");
    post(json!({"collections": ["staff"], "recipe": "magic"})).await.problem(400, "invalid_request", "magic");
    post(json!({"collections": ["staff"], "overrides": {"a b": 1}})).await.problem(400, "invalid_request", "recipe");
    post(json!({"collections": ["staff"], "overrides": {"a": [1]}})).await.problem(400, "invalid_request", "overrides");
    post(json!({"collections": ["staff"], "base_model": "../x"})).await.problem(400, "invalid_request", "base model");
    post(json!({"collections": ["staff"], "epochs": 3})).await.problem(400, "invalid_request", "epochs");
    assert_eq!(app.get(PATH).await.expect(200)["items"], json!([]), "refused ones leave nothing");
    assert_eq!(app.queue.depth(Lane::Train).await.unwrap().waiting, 0);
    app.get(&format!("{PATH}/nothing")).await.problem(404, "not_found", "no training run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_to_its_end_and_its_papers_are_handed_out() {
    let app = App::start().await;
    retaining(&app, "staff").await;
    let (id, _) = started(&app, json!({"collections": ["staff"]})).await;
    let path = format!("{PATH}/{id}");
    app.get(&format!("{path}/lineage")).await.problem(409, "conflict", "queued");
    let mut events = Events::of(app.call(Method::GET, &format!("{path}/events")).send().await.unwrap());
    assert_eq!(events.next().await.unwrap().data["state"], "queued");

    let runs = runs(&app);
    assert!(matches!(runs.claim(&id, "a").await.unwrap(), Claim::Claimed(_)));
    let progress =
        RunProgress { step: 3, steps: 9, loss: 1.5, learning_rate: 0.1, images_per_second: 20.0, eta_seconds: Some(2) };
    let lineage = Bytes::from_static(b"{\"subjects\":[]}");
    let at_three = |run: &mut store::RunRecord| {
        (run.state, run.progress) = (RunState::Training, Some(progress));
    };
    assert!(runs.carry((&id, "a"), &[("lineage", lineage.clone())], at_three).await.unwrap().is_some());
    let told = loop {
        let event = events.next().await.unwrap();
        assert_eq!(event.name, "progress");
        if event.data["state"] == "training" {
            break event.data;
        }
    };
    assert_eq!(
        told["progress"],
        json!({"step": 3, "steps": 9, "loss": 1.5, "learning_rate": 0.1, "images_per_second": 20.0, "eta_seconds": 2})
    );
    assert!(told.get("carrier").is_none() && told.get("checkpoint").is_none(), "only a trainer's: {told}");

    let end = |run: &mut store::RunRecord| {
        run.failure = Some(RunFailure::new(RunFailureCode::LossNotFinite, "the loss of step 4 is NaN"));
        run.end(RunState::Failed, Timestamp::now());
    };
    let page = Bytes::from_static(b"<!DOCTYPE html>");
    assert!(runs.carry((&id, "a"), &[("report.html", page)], end).await.unwrap().is_some());
    let last = loop {
        let event = events.next().await.unwrap();
        if event.name == "done" {
            break event;
        }
    };
    assert_eq!(last.data["failure"], json!({"code": "loss_not_finite", "detail": "the loss of step 4 is NaN"}));
    assert!(events.next().await.is_none());
    // Resumable at any gateway: who has the end is told to stay away.
    let second = app.second().await;
    let again = second.call(Method::GET, &format!("{path}/events")).header("last-event-id", last.id);
    assert_eq!(again.send().await.unwrap().status(), 204);

    assert_eq!(app.get(&format!("{path}/lineage")).await.expect(200), json!({"subjects": []}));
    let report = app.get(&format!("{path}/report.html")).await;
    assert_eq!((report.status, report.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(report.header("content-security-policy").starts_with("default-src 'none'"));
    app.delete(&path).await.problem(409, "conflict", "already ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_is_taken_off_the_lane_and_its_trainer_writes_nothing_more() {
    let app = App::start().await;
    retaining(&app, "staff").await;
    let (waiting, _) = started(&app, json!({"collections": ["staff"]})).await;
    let (held, _) = started(&app, json!({"collections": ["staff"]})).await;
    let runs = runs(&app);
    assert!(matches!(runs.claim(&held, "a").await.unwrap(), Claim::Claimed(_)));
    for id in [&waiting, &held] {
        let path = format!("{PATH}/{id}");
        assert_eq!(app.delete(&path).await.status, 204);
        assert_eq!(app.delete(&path).await.status, 204, "cancelling twice changes nothing");
        assert_eq!(app.get(&path).await.expect(200)["state"], "cancelled");
    }
    assert!(runs.carry((&held, "a"), &[], |run| run.state = RunState::Done).await.unwrap().is_none());
    assert!(matches!(runs.claim(&waiting, "b").await.unwrap(), Claim::Ended));
    let consumer = app.queue.consumer(Lane::Train, ConsumerOptions::default());
    let none = tokio::time::timeout(Duration::from_millis(300), consumer.next(1)).await;
    assert!(none.is_err(), "a cancelled run was handed out: {none:?}");
    assert!(Runs::open(&*app.store).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_needs_crops_to_learn_from_and_is_kept() {
    let app = App::start().await;
    let body = |training: Value| json!({"id": "auto", "purposes": ["a"], "training": training});
    let policy = json!({"auto": true, "new_templates": 5, "recipe": "fine-tune-head"});
    let refused = app.post("/v1/collections", body(policy)).await;
    assert_eq!(refused.problem(400, "invalid_request", "retain_crops").pointer(), "/training/auto");
    let zero = app.post("/v1/collections", body(json!({"new_templates": 0}))).await;
    assert_eq!(zero.problem(400, "invalid_request", "at least 1").pointer(), "/training/new_templates");
    let made = app.post("/v1/collections", body(json!({"new_templates": 7}))).await.expect(201);
    assert_eq!(made["training"], json!({"auto": false, "new_templates": 7, "recipe": "fine-tune-head"}));
    let path = "/v1/collections/auto";
    let changed = app.call(Method::PATCH, path).json(&json!({"training": {"recipe": "fine-tune-full"}}));
    let changed = answer(changed).await.expect(200);
    assert_eq!(changed["training"], json!({"auto": false, "new_templates": 7, "recipe": "fine-tune-full"}));
}
