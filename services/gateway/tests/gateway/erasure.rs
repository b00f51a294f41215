//! An erasure is acknowledged when every live worker has confirmed it, and not before.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::Method;

use crate::{
    app::{Answer, App, answer},
    presence::{Presence, manner},
};

async fn delete_within(app: &App, path: &str, ms: u32) -> Answer {
    answer(app.call(Method::DELETE, path).header("x-deadline-ms", ms.to_string())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_live_worker_confirms_an_erasure() {
    let app = App::start().await;
    let other = Presence::announce(&app.queue, &app.store, "other").await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    assert_eq!(app.delete("/v1/collections/staff/subjects/anna").await.status, 204);
    let asked = [app.presence.asked.lock().clone(), other.asked.lock().clone()].concat();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0], asked[1], "each has a job of its own");
    assert_eq!(
        app.queue.depth(domain::Lane::Interactive).await.unwrap().taken,
        1,
        "no lane is used, but for enrolment"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_confirmed_is_not_acknowledged_and_a_repetition_confirms_it() {
    let app = App::start().await;
    app.collection("staff").await;
    let enrolled = app.subject("staff", "anna").await.body;
    let face = format!("/v1/collections/staff/subjects/anna/faces/{}", enrolled["faces"][0]["id"].as_str().unwrap());
    let silent =
        |s: bool| app.presence.manner.store(if s { manner::SILENT } else { manner::AS_ASKED }, Ordering::SeqCst);
    let ended = [
        (face.as_str(), 404, "face_not_found"),
        ("/v1/collections/staff/subjects/anna", 410, "erased"),
        ("/v1/collections/staff", 404, "collection_not_found"),
    ];
    for (path, status, code) in ended {
        silent(true);
        let first = delete_within(&app, path, 100).await;
        assert_eq!(first.problem(504, "deadline_exceeded", "erased from the store").body["retryable"], true, "{path}");
        delete_within(&app, path, 100).await.problem(504, "deadline_exceeded", "repeating the request is safe");
        silent(false);
        let before = app.presence.asked.lock().len();
        app.delete(path).await.problem(status, code, "");
        assert_eq!(app.presence.asked.lock().len(), before + 1, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_whose_confirmation_failed_is_confirmed_when_repeated() {
    let app = App::start().await;
    app.collection("staff").await;
    let consent = app.subject("staff", "anna").await.body["consent_id"].as_str().unwrap().to_owned();
    let withdraw = || app.call(Method::POST, &format!("/v1/consents/{consent}/withdraw"));
    app.presence.manner.store(manner::SILENT, Ordering::SeqCst);
    for _ in 0..2 {
        answer(withdraw().header("x-deadline-ms", "100")).await.problem(504, "deadline_exceeded", "erased");
    }
    app.presence.manner.store(manner::AS_ASKED, Ordering::SeqCst);
    assert_eq!(answer(withdraw()).await.expect(200)["status"], "withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_refuses_is_told_as_something_to_try_again() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    app.presence.manner.store(manner::REFUSING, Ordering::SeqCst);
    let refused = app.delete("/v1/collections/staff/subjects/anna").await;
    assert_eq!(refused.problem(503, "store_unavailable", "a damaged snapshot").body["retryable"], true);
    assert!(!refused.header("retry-after").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_holds_an_erasure_up_until_its_lease_ends_and_no_worker_does_not() {
    let app = App::start().await;
    let dead = Presence::announce(&app.queue, &app.store, "dead").await;
    dead.manner.store(manner::SILENT, Ordering::SeqCst);
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    delete_within(&app, "/v1/collections/staff/subjects/anna", 100).await.problem(504, "deadline_exceeded", "");
    dead.renew(Duration::from_millis(300)).await;
    app.delete("/v1/collections/staff/subjects/anna").await.problem(410, "erased", "");
    app.presence.leave().await;
    let before = app.presence.asked.lock().len();
    assert_eq!(app.delete("/v1/collections/staff").await.status, 204, "nobody holds a gallery");
    assert_eq!(app.presence.asked.lock().len(), before);
    assert_eq!(app.get("/v1/system").await.expect(200)["ready"], false);
}
