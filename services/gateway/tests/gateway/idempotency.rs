//! `Idempotency-Key` on writes.

use std::sync::atomic::Ordering;

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::app::{App, answer, consent, image};

fn enrol(app: &App, key: &str, id: &str) -> RequestBuilder {
    let body = json!({"id": id, "consent": consent(), "image": image("face")});
    app.call(Method::POST, "/v1/collections/staff/subjects").header("idempotency-key", key).json(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_write_is_done_once_and_answered_alike() {
    let app = App::start().await;
    app.collection("staff").await;
    let first = answer(enrol(&app, "k1", "anna")).await;
    let second = answer(enrol(&app, "k1", "anna")).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
    assert_eq!(app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst), 1);

    answer(enrol(&app, "k1", "bert")).await.problem(422, "idempotency_key_reused", "new key");
    let elsewhere = app.call(Method::DELETE, "/v1/collections/staff").header("idempotency-key", "k1");
    answer(elsewhere).await.problem(422, "idempotency_key_reused", "");
    let other_caller = app.key_with(&["subjects:write"]).await;
    let request = app.call_as(&other_caller, Method::POST, "/v1/collections").header("idempotency-key", "k1");
    answer(request.json(&json!({"purposes": ["a"]}))).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_kept_and_failures_of_the_service_are_not() {
    let app = App::start().await;
    app.collection("staff").await;
    let delete = || app.call(Method::DELETE, "/v1/collections/none").header("idempotency-key", "d1");
    let first = answer(delete().header("x-request-id", "one")).await;
    first.problem(404, "collection_not_found", "");
    let second = answer(delete().header("x-request-id", "two")).await;
    second.problem(404, "collection_not_found", "");
    assert_eq!((second.header("idempotency-replayed"), second.header("x-request-id")), ("true", "two"));

    let body = json!({"id": "anna", "consent": consent(), "image": image("problem:inference_failed")});
    let failing =
        || app.call(Method::POST, "/v1/collections/staff/subjects").header("idempotency-key", "f1").json(&body);
    answer(failing()).await.problem(500, "inference_failed", "");
    answer(failing()).await.problem(500, "inference_failed", "");
    let jobs: Vec<String> = app.worker.as_ref().unwrap().seen.lock().iter().map(|e| e.job_id.clone()).collect();
    assert_eq!(jobs.len(), 2, "tried again");
    assert_eq!(jobs[0], jobs[1], "under the same job id, so that an effect would be found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_not_begun_twice() {
    let app = App::start().await;
    let slow = |app: &App| {
        let request =
            app.call(Method::POST, "/v1/detect").header("idempotency-key", "s1").header("x-deadline-ms", "3000");
        request.json(&json!({"image": image("silent")}))
    };
    let first = tokio::spawn(answer(slow(&app)));
    let worker = app.worker.as_ref().unwrap();
    while worker.taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = answer(slow(&app)).await;
    second.problem(409, "conflict", "still being worked on");
    assert_eq!(second.header("retry-after"), "1");
    first.await.unwrap().problem(504, "deadline_exceeded", "");
    assert_eq!(worker.taken.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_hung_up_is_finished_and_found() {
    let app = App::start().await;
    app.collection("staff").await;
    let gone = enrol(&app, "h1", "anna").timeout(std::time::Duration::from_millis(1)).send().await;
    // Whether the answer came within the millisecond or not: the repetition gives 201, never 409 for ever.
    drop(gone);
    let found = loop {
        let again = answer(enrol(&app, "h1", "anna")).await;
        if again.status != 409 {
            break again;
        }
    };
    found.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_embeddings_are_not_kept_for_repetitions() {
    let app = App::start().await;
    let make = || {
        app.call(Method::POST, "/v1/api-keys")
            .header("idempotency-key", "a1")
            .json(&json!({"name": "x", "scopes": ["detect"]}))
    };
    let (first, second) = (answer(make()).await.expect(201), answer(make()).await.expect(201));
    assert!(first["secret"].is_string());
    assert_eq!((&second["id"], second.get("secret")), (&first["id"], None));
    let embed = || {
        app.call(Method::POST, "/v1/embeddings").header("idempotency-key", "e1").json(&json!({"image": image("face")}))
    };
    assert_eq!(answer(embed()).await.expect(200), answer(embed()).await.expect(200));
    assert_eq!(app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst), 2, "computed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_no_keys_are_refused() {
    let app = App::start().await;
    for bad in ["", &"k".repeat(256)] {
        let request = app.call(Method::POST, "/v1/collections").header("idempotency-key", bad);
        let refused = answer(request.json(&json!({"purposes": ["a"]}))).await;
        assert_eq!(refused.problem(400, "invalid_request", "255").pointer(), "idempotency-key");
    }
}
