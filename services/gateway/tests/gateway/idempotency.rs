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
    let slow = |app: &App, ms: &str| {
        let request = app.call(Method::POST, "/v1/detect").header("idempotency-key", "s1").header("x-deadline-ms", ms);
        request.json(&json!({"image": image("silent")}))
    };
    let first = tokio::spawn(answer(slow(&app, "3000")));
    let worker = app.worker.as_ref().unwrap();
    while worker.taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = answer(slow(&app, "300")).await;
    second.problem(504, "deadline_exceeded", "still being worked on");
    assert_eq!((second.header("retry-after"), &second.body["retryable"]), ("1", &json!(true)));
    first.await.unwrap().problem(504, "deadline_exceeded", "");
    assert_eq!(worker.taken.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_hung_up_is_finished_and_found() {
    let app = App::start().await;
    app.collection("staff").await;
    let gone = enrol(&app, "h1", "anna").timeout(std::time::Duration::from_millis(1)).send().await;
    // Whether the answer came within the millisecond or not: the repetition waits for it.
    drop(gone);
    answer(enrol(&app, "h1", "anna")).await.expect(201);
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

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_two_gateways_at_once_is_one_effect_and_one_answer() {
    let app = App::start().await;
    app.collection("staff").await;
    let other = app.second().await;
    for round in 0..10 {
        let (key, id) = (format!("two-{round}"), format!("p{round}"));
        let (one, two) = tokio::join!(answer(enrol(&app, &key, &id)), answer(enrol(&other, &key, &id)));
        assert_eq!((one.status, two.status), (201, 201), "{:?} {:?}", one.body, two.body);
        assert_eq!(one.body, two.body);
        let replayed = [&one, &two].map(|a| a.header("idempotency-replayed").len());
        assert_eq!(replayed.iter().filter(|n| **n > 0).count(), 1, "one of them did it");
    }
    assert_eq!(app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_elsewhere_finishes_what_a_dead_gateway_began() {
    let mut app = App::start().await;
    app.collection("staff").await;
    app.worker = None;
    // A gateway in a runtime of its own, which dies with it in the middle of everything.
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let victim = {
        let second = app.second_on(doomed.handle()).await;
        let asking = tokio::spawn(enrol(&second, "dead", "anna").send());
        while app.queue.depth(domain::Lane::Interactive).await.unwrap().waiting == 0 {
            tokio::task::yield_now().await;
        }
        doomed.shutdown_background();
        assert!(asking.await.unwrap().is_err(), "its caller sees a broken connection");
        second
    };
    app.worker = Some(crate::worker::Worker::start(app.queue.clone(), app.store.clone()));
    let began = std::time::Instant::now();
    let again = answer(enrol(&app, "dead", "anna")).await.expect(201);
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    let faces = app.get("/v1/collections/staff/subjects/anna").await.expect(200)["faces"].clone();
    assert_eq!(faces, again["faces"], "what was answered is what is there");
    assert_eq!(faces.as_array().unwrap().len(), 1);
    let seen = app.worker.as_ref().unwrap().seen.lock().clone();
    assert_eq!(seen.len(), 2, "sent again, since nobody could know that it was done");
    assert_eq!(seen[0].job_id, seen[1].job_id);
    drop(victim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_attempt_keeps_its_lease_however_long_it_takes() {
    let app = App::start_with(|c| c.times.idempotency_lease = std::time::Duration::from_millis(300)).await;
    let other = app.second().await;
    let slow = |app: &App, ms: &str| {
        let request = app.call(Method::POST, "/v1/detect").header("idempotency-key", "l1").header("x-deadline-ms", ms);
        request.json(&json!({"image": image("silent")}))
    };
    let first = tokio::spawn(answer(slow(&app, "4000")));
    let worker = app.worker.as_ref().unwrap();
    while worker.taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // Many leases later it is still the first attempt's.
    answer(slow(&other, "1500")).await.problem(504, "deadline_exceeded", "still being worked on");
    assert_eq!(worker.taken.load(Ordering::SeqCst), 1);
    // It ended by its own deadline, of which a slow look at its key takes some off, and not by the other's.
    let first = first.await.unwrap();
    let own = first.problem(504, "deadline_exceeded", "no answer within").body["detail"].as_str().unwrap();
    let within = own.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap();
    assert!((1_501..=4_000).contains(&within), "{own}");
}
