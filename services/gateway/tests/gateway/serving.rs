//! Readiness, overload, hang-ups, shutdown, certificates, the first key, metrics.

use std::{sync::atomic::Ordering, time::Duration};

use domain::Lane;
use gateway::{AdminKey, ensure_admin_key};
use queue::ConsumerOptions;
use reqwest::Method;
use serde_json::json;

use crate::{
    app::{App, answer, client, image},
    presence::Presence,
};

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_workers_and_liveness_does_not() {
    let mut app = App::start().await;
    assert_eq!(app.get("/readyz").await.expect(200), json!({"status": "ready"}));
    let verbose = app.get("/readyz?verbose").await.expect(200);
    let names: Vec<_> = verbose["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["store", "queue", "models", "draining"]);
    assert_eq!(verbose["checks"][0]["detail"], "flushed to disk");
    app.presence.leave().await;
    while app.get("/readyz").await.status == 200 {}
    let not_yet = app.get("/readyz").await;
    not_yet.problem(503, "model_not_ready", "no worker is ready");
    assert!(!not_yet.header("retry-after").is_empty());
    *app.system.0.lock() = Some("the embedder is being warmed".into());
    app.post("/v1/detect", json!({"image": image("face")})).await.problem(503, "model_not_ready", "being warmed");
    let new = json!({"id": "staff", "purposes": ["a"]});
    app.post("/v1/collections", new).await.problem(503, "model_not_ready", "being warmed");
    assert_eq!(app.get("/livez").await.status, 200);
    app.presence = Presence::announce(&app.queue, &app.store, "another").await;
    while app.get("/readyz").await.status != 200 {}
    app.post("/v1/detect", json!({"image": image("face")})).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_503_and_comes_back_by_itself() {
    let app = App::start().await;
    app.store_away.store(true, Ordering::SeqCst);
    app.get("/readyz").await.problem(503, "store_unavailable", "store");
    let refused = app.get("/v1/collections").await;
    assert_eq!(refused.problem(503, "store_unavailable", "cannot be reached").body["retryable"], true);
    assert!(!refused.header("retry-after").is_empty() && !refused.body.to_string().contains("unplugged"));
    app.store_away.store(false, Ordering::SeqCst);
    assert_eq!(app.get("/v1/collections").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_an_internal_error_and_the_next_request_is_served() {
    let app = App::start().await;
    app.system.1.store(true, Ordering::SeqCst);
    let failed = app.get("/v1/system").await;
    assert!(!failed.problem(500, "internal", "defect").body.to_string().contains("asked to panic"));
    app.system.1.store(false, Ordering::SeqCst);
    assert_eq!(app.get("/v1/system").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn system_tells_roles_models_and_lanes() {
    let app = App::start().await;
    let got = app.get("/v1/system").await.expect(200);
    assert_eq!(
        (&got["roles"], &got["model_version"], &got["ready"]),
        (&json!(["gateway"]), &json!("fake-1"), &json!(true))
    );
    assert_eq!((&got["workers"], &got["workers_ready"], &got["store_engine"]), (&json!(1), &json!(1), &json!("redb")));
    let detector = json!({"role": "detector", "id": "fake-detector", "provider": "cpu"});
    assert_eq!((&got["models"], &got["model_versions"]), (&json!([detector]), &json!(["fake-1"])));
    assert_eq!(got["lanes"][0], json!({"lane": "interactive", "waiting": 0, "in_flight": 0, "oldest_ms": 0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_lane_is_overload_and_says_when_to_come_again() {
    let mut app = App::start_with(|c| c.limits.queue_depth = 2).await;
    app.worker = None;
    for _ in 0..2 {
        let request =
            app.call(Method::POST, "/v1/detect").header("prefer", "wait=1").json(&json!({"image": image("face")}));
        assert_eq!(answer(request).await.status, 202);
    }
    let refused = app.post("/v1/detect", json!({"image": image("face")})).await;
    refused.problem(503, "overloaded", "waiting");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_permits_are_refused_at_once() {
    let app = App::start_with(|c| c.limits.in_flight = 1).await;
    let slow =
        app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "3000").json(&json!({"image": image("silent")}));
    let slow = tokio::spawn(answer(slow));
    while app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    app.get("/v1/collections").await.problem(503, "overloaded", "too many requests");
    assert_eq!(app.get("/livez").await.status, 200, "probes are not counted");
    slow.await.unwrap().problem(504, "deadline_exceeded", "");
    assert_eq!(app.get("/v1/collections").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_hangs_up_cancels_its_job() {
    let mut app = App::start().await;
    app.worker = None;
    let request = app.call(Method::POST, "/v1/detect").json(&json!({"image": image("face")}));
    let asking = tokio::spawn(request.send());
    while app.queue.depth(Lane::Interactive).await.unwrap().waiting == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    let metrics = || prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    while !metrics().contains("visavis_gateway_pending_jobs 0") {
        tokio::task::yield_now().await;
    }
    // The mark is set by a task that was started before the gauge fell; a round trip later it is there.
    assert_eq!(app.get("/livez").await.status, 200);
    app.worker = Some(crate::worker::Worker::start(app.queue.clone(), app.store.clone()));
    app.post("/v1/detect", json!({"image": image("face")})).await.expect(200);
    assert_eq!(app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst), 1, "the abandoned job was not done");
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_what_is_in_flight() {
    let app = App::start().await;
    let slow =
        app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "1000").json(&json!({"image": image("silent")}));
    let slow = tokio::spawn(answer(slow));
    while app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    app.shutdown.cancel();
    slow.await.unwrap().problem(504, "deadline_exceeded", "");
    tokio::time::timeout(Duration::from_secs(10), app.serving).await.unwrap().unwrap().unwrap();
    let url = format!("{}/livez", app.base);
    assert!(client(&app.config, |c| c).get(url).send().await.is_err(), "nothing is accepted any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let app = App::start_with(|c| c.tls.reload_every = Duration::from_millis(20)).await;
    let url = format!("{}/livez", app.base);
    let old = client(&app.config, |c| c);
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(&app.config.tls.key, certificate.signing_key.serialize_pem()).unwrap();
    std::fs::write(&app.config.tls.cert, certificate.cert.pem()).unwrap();
    let new = client(&app.config, |c| c);
    let served = async {
        while new.get(&url).send().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), served).await.expect("the old certificate is still served");
    // A client that trusts only the old certificate is refused: the new one is really in use.
    assert!(old.get(&url).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_comes_from_its_file_or_is_made_once() {
    let app = App::start().await;
    assert_eq!(ensure_admin_key(app.store.clone(), None).await.unwrap(), AdminKey::Kept);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admin.key");
    let AdminKey::Made(made) = ensure_admin_key(app.store.clone(), Some(&file)).await.unwrap() else { panic!() };
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), made);
    assert_eq!(answer(app.call_as(&made, Method::GET, "/v1/collections")).await.status, 200);
    assert!(matches!(ensure_admin_key(app.store.clone(), Some(&file)).await, Ok(AdminKey::FromFile(k)) if k == made));

    // A key deleted from the store, or given another secret by its file, works again after a start.
    let path = format!("/v1/api-keys/{}", made.split('_').nth(1).unwrap());
    assert_eq!(app.delete(&path).await.status, 204);
    let other = format!("vv_ci_{}", "s3cret".repeat(4));
    std::fs::write(&file, &other).unwrap();
    ensure_admin_key(app.store.clone(), Some(&file)).await.unwrap();
    assert_eq!(answer(app.call_as(&other, Method::GET, "/v1/system")).await.status, 200);
    std::fs::write(&file, "garbage").unwrap();
    assert!(ensure_admin_key(app.store.clone(), Some(&file)).await.is_err());
}

/// As on a first installation: every replica finds the same file and a store without its key.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_together_all_take_the_key_of_their_file() {
    let app = App::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("admin.key");
    for round in 0..8 {
        let text = format!("vv_together{round}_{}", "s3cret".repeat(4));
        std::fs::write(&file, &text).unwrap();
        let start = || {
            let (store, file) = (app.store.clone(), file.clone());
            tokio::spawn(async move { ensure_admin_key(store, Some(&file)).await })
        };
        for started in [(); 8].map(|()| start()) {
            let taken = started.await.unwrap();
            assert!(matches!(&taken, Ok(AdminKey::FromFile(k)) if *k == text), "{taken:?}");
        }
        assert_eq!(answer(app.call_as(&text, Method::GET, "/v1/system")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_routes_never_paths() {
    let app = App::start().await;
    app.collection("secret-name").await;
    app.get("/v1/collections/secret-name").await.expect(200);
    app.post("/v1/detect", json!({"image": image("face")})).await.expect(200);
    app.get("/v1/no/such/path").await.problem(404, "not_found", "");
    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    let line = r#"visavis_http_requests_total{method="GET",route="/v1/collections/{collection}",status="2xx"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains(r#"route="unmatched",status="4xx""#) && !text.contains("secret-name"));
    assert!(text.contains(r#"visavis_request_stage_seconds_count{stage="decode"} 1"#) && !text.contains("unheard_of"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_nobody_to_do_it_ends_at_its_deadline() {
    let mut app = App::start().await;
    app.worker = None;
    let request =
        app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "100").json(&json!({"image": image("face")}));
    answer(request).await.problem(504, "deadline_exceeded", "100 ms");
    let consumer = app.queue.consumer(Lane::Interactive, ConsumerOptions::default());
    let none = tokio::time::timeout(Duration::from_millis(200), consumer.next(1)).await;
    assert!(none.is_err(), "the job is not done after all");
}
