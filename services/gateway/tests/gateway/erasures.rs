//! Erasures as jobs: what is refused, what is reached, what survives a gateway that stops in the middle.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{App, answer, consent, image},
    presence::manner,
};

async fn erase(app: &App, body: Value) -> String {
    let accepted = app.post("/v1/erasures", body).await;
    let path = accepted.header("location").to_owned();
    assert_eq!(accepted.expect(202)["state"], "queued");
    path
}

async fn done(app: &App, path: &str) -> Value {
    for _ in 0..1000 {
        let record = app.get(path).await.expect(200);
        if record["state"] == "succeeded" {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not done: {}", app.get(path).await.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_clear_is_refused() {
    let app = App::start().await;
    app.collection("staff").await;
    let order = async |body| app.post("/v1/erasures", body).await;
    order(json!({"collection_id": "staff"})).await.problem(400, "invalid_request", "whole_collection");
    let both = json!({"collection_id": "staff", "subject_ids": ["a"], "whole_collection": true});
    order(both).await.problem(400, "invalid_request", "one of both");
    order(json!({"collection_id": "none", "subject_ids": ["a"]})).await.problem(404, "collection_not_found", "none");
    let long = json!({"collection_id": "staff", "subject_ids": ["a"], "reason": "x".repeat(201)});
    order(long).await.problem(400, "invalid_request", "200 characters");
    let many: Vec<String> = (0..10_001).map(|i| format!("s{i}")).collect();
    let many = json!({"collection_id": "staff", "subject_ids": many});
    order(many).await.problem(400, "invalid_request", "at most 10000");
    app.get("/v1/erasures/unknown").await.problem(404, "not_found", "unknown");
    app.get("/v1/erasures/unknown/receipt").await.problem(404, "not_found", "unknown");
    let reader = app.key_with(&["subjects:read", "audit"]).await;
    let body = json!({"collection_id": "staff", "subject_ids": ["a"]});
    let refused = answer(app.call_as(&reader, Method::POST, "/v1/erasures").json(&body)).await;
    refused.problem(403, "forbidden", "erase");
    let refused = answer(app.call_as(&reader, Method::POST, "/v1/signing-keys").json(&json!({}))).await;
    refused.problem(403, "forbidden", "tenants");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_is_one_erasure() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let order = || {
        let request = app.call(Method::POST, "/v1/erasures").header("idempotency-key", "once");
        request.json(&json!({"collection_id": "staff", "subject_ids": ["anna", "anna"]}))
    };
    let (one, two) = (answer(order()).await, answer(order()).await);
    assert_eq!(one.header("location"), two.header("location"));
    let record = done(&app, one.header("location")).await;
    assert_eq!((&record["subjects"], &record["removed"]["subjects"]), (&json!(1), &json!(1)));
    assert_eq!(app.get("/v1/erasures").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_goes_with_everybody_in_it() {
    let app = App::start().await;
    app.collection("staff").await;
    for id in ["anna", "bert"] {
        app.subject("staff", id).await;
    }
    let path = erase(&app, json!({"collection_id": "staff", "whole_collection": true})).await;
    let record = done(&app, &path).await;
    let removed = &record["removed"];
    assert_eq!((&removed["subjects"], &removed["faces"], &removed["consents"]), (&json!(2), &json!(2), &json!(2)));
    app.get("/v1/collections/staff").await.problem(404, "collection_not_found", "staff");
    assert_eq!(app.get(&format!("{path}/receipt")).await.header("content-type"), "application/jose");
    // The id is free again.
    app.collection("staff").await;
    assert_eq!(app.get("/v1/collections/staff/stats").await.expect(200)["subjects"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_finishes_what_one_has_begun() {
    let app = App::start().await;
    let other = app.second().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    // The worker says nothing: the erasure comes as far as the galleries.
    app.presence.manner.store(manner::SILENT, Ordering::SeqCst);
    let path = erase(&app, json!({"collection_id": "staff", "subject_ids": ["anna"]})).await;
    let begun = async || app.get(&path).await.expect(200)["steps"][1]["done"] == true;
    while !begun().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.get(&format!("{path}/receipt")).await.problem(409, "conflict", "galleries");
    app.serving.abort();
    app.presence.manner.store(manner::AS_ASKED, Ordering::SeqCst);
    let record = done(&other, &path).await;
    assert_eq!((&record["removed"]["subjects"], &record["removed"]["faces"]), (&json!(1), &json!(1)), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_reaches_what_was_kept_of_the_subject() {
    let app = App::start().await;
    app.collection("staff").await;
    let enrol = |id: &str| {
        let request = app.call(Method::POST, "/v1/collections/staff/subjects").header("idempotency-key", id);
        request.json(&json!({"id": id, "consent": consent(), "image": image("face")}))
    };
    answer(enrol("anna")).await.expect(201);
    let verify = app.call(Method::POST, "/v1/collections/staff/subjects/anna/verify").header("prefer", "respond-async");
    let job = answer(verify.json(&json!({"image": image("face")}))).await.header("location").to_owned();
    while app.get(&job).await.expect(200)["state"] != "succeeded" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // An item that is never begun holds her pictures.
    let items = json!([{"id": "anna", "consent": consent(), "images": [image("silent")]}]);
    let bulk = app.post("/v1/jobs", json!({"kind": "bulk_enrol", "collection_id": "staff", "items": items})).await;
    let bulk = bulk.header("location").to_owned();
    assert_eq!(app.delete("/v1/collections/staff/subjects/anna").await.status, 204);
    assert_eq!(app.get(&job).await.expect(200)["problem"]["code"], "erased");
    answer(enrol("anna")).await.problem(410, "erased", "carried out");
    let job = app.get(&bulk).await.expect(200);
    assert_eq!((&job["state"], &job["progress"]["failed"]), (&json!("succeeded"), &json!(1)), "{job}");
    let line = app.get(&format!("{bulk}/results")).await.body;
    assert_eq!(line["problem"]["code"], "erased", "{line}");
}
