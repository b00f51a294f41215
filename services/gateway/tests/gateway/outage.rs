//! The queue is gone, or hangs; the store is gone; and two gateways share what there is.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use domain::Lane;
use gateway::{Gateway, GatewayDeps};
use queue::Rate;
use reqwest::{Client, Method};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    app::{App, answer, client, consent, image, read},
    unplugged::plug,
    worker::Worker,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_away_is_503_and_comes_back_by_itself() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let anna = "/v1/collections/staff/subjects/anna";
    app.plug.store(plug::OUT, Ordering::SeqCst);
    app.get("/readyz").await.problem(503, "queue_unavailable", "queue");
    let refused = app.post("/v1/detect", json!({"image": image("face")})).await;
    assert_eq!(refused.problem(503, "queue_unavailable", "cannot be used").body["retryable"], true);
    assert!(!refused.header("retry-after").is_empty());
    let later = app.call(Method::POST, "/v1/detect").header("prefer", "respond-async");
    answer(later.json(&json!({"image": image("face")}))).await.problem(503, "queue_unavailable", "");
    assert_eq!(app.get(anna).await.status, 200, "what needs no worker is served");
    app.delete(anna).await.problem(503, "queue_unavailable", "erased from the store");
    app.get(anna).await.problem(410, "erased", "");
    assert_eq!(app.get("/livez").await.status, 200);

    app.plug.store(plug::IN, Ordering::SeqCst);
    while app.post("/v1/detect", json!({"image": image("face")})).await.status != 200 {}
    assert_eq!(app.get("/readyz").await.status, 200);
    app.delete(anna).await.problem(410, "erased", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_queue_no_request_is_refused_for_its_keys_rate() {
    let rate = Rate { per_second: 0.001, burst: 1 };
    let app = App::start_with(|c| c.limits.key_rate = Some(rate)).await;
    app.get("/v1/collections").await.expect(200);
    app.get("/v1/collections").await.problem(429, "rate_limited", "");
    app.plug.store(plug::OUT, Ordering::SeqCst);
    let uncounted = app.get("/v1/collections").await;
    assert_eq!((uncounted.status, uncounted.header("ratelimit-limit")), (200, ""));
    app.plug.store(plug::IN, Ordering::SeqCst);
    app.get("/v1/collections").await.problem(429, "rate_limited", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_away_nothing_is_acknowledged_and_it_comes_back_by_itself() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    app.store_away.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let (subjects, bert) = ("/v1/collections/staff/subjects", json!({"id": "bert", "consent": consent()}));
    app.post(subjects, bert.clone()).await.problem(503, "store_unavailable", "");
    app.delete("/v1/collections/staff/subjects/anna").await.problem(503, "store_unavailable", "");
    app.post("/v1/detect", json!({"image": image("face")})).await.problem(503, "store_unavailable", "");
    app.get("/readyz").await.problem(503, "store_unavailable", "");
    assert!(began.elapsed() < app.config.times.deadline);
    app.store_away.store(false, Ordering::SeqCst);
    assert_eq!(app.get("/readyz").await.status, 200);
    assert_eq!(app.get("/v1/collections/staff/subjects/anna").await.status, 200, "nothing was erased");
    app.post(subjects, bert).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_hangs_holds_nobody_up_beyond_the_deadline() {
    let app = App::start_with(|c| c.times.deadline = Duration::from_millis(500)).await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    app.plug.store(plug::HANGING, Ordering::SeqCst);
    let began = Instant::now();
    app.post("/v1/detect", json!({"image": image("face")})).await.problem(503, "queue_unavailable", "");
    let later = app.call(Method::POST, "/v1/detect").header("prefer", "respond-async");
    answer(later.json(&json!({"image": image("face")}))).await.problem(503, "queue_unavailable", "");
    // Too short to say anything about the queue.
    let hurried = app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "20");
    answer(hurried.json(&json!({"image": image("face")}))).await.problem(504, "deadline_exceeded", "20 ms");
    let erased = app.delete("/v1/collections/staff/subjects/anna").await;
    erased.problem(504, "deadline_exceeded", "erased from the store");
    app.get("/readyz").await.problem(503, "queue_unavailable", "no answer");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    while app.post("/v1/detect", json!({"image": image("face")})).await.body["code"] != "queue_unavailable" {}
    app.plug.store(plug::IN, Ordering::SeqCst);
    while app.get("/readyz").await.status != 200 {}
}

/// A second gateway on the same store and queue.
async fn beside(app: &App) -> (String, Client, AbortOnDropHandle<()>) {
    let deps = GatewayDeps {
        store: app.store.clone(),
        queue: app.queue.clone(),
        crops: None,
        models: None,
        registry: prometheus::Registry::new(),
        system: app.system.clone(),
    };
    let gateway = Gateway::bind(app.config.clone(), deps).await.unwrap();
    let base = format!("https://localhost:{}", gateway.address().port());
    let serving = tokio::spawn(gateway.serve(app.shutdown.clone()));
    let serving = tokio::spawn(async move { serving.await.unwrap().unwrap() });
    (base, client(&app.config, |c| c), AbortOnDropHandle::new(serving))
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_reach_the_gateway_that_asked() {
    let app = App::start().await;
    let (base, client, _serving) = beside(&app).await;
    let mut asked = Vec::new();
    for n in 0..24 {
        let (content, faces) = if n % 3 == 0 { ("no_face", 0) } else { ("face", 1) };
        let body = json!({"image": image(content)});
        let request = if n % 2 == 0 {
            app.call(Method::POST, "/v1/detect")
        } else {
            client.post(format!("{base}/v1/detect")).bearer_auth(&app.key)
        };
        asked.push((tokio::spawn(request.json(&body).send()), faces));
    }
    for (asked, faces) in asked {
        let got = read(asked.await.unwrap().unwrap()).await.expect(200);
        assert_eq!(got["items"][0]["faces"].as_array().unwrap().len(), faces);
    }
    let seen = app.worker.as_ref().unwrap().seen.lock().clone();
    let addresses: std::collections::HashSet<_> = seen.iter().map(|e| e.reply_to.as_str()).collect();
    assert_eq!((seen.len(), addresses.len()), (24, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_at_one_gateway_cancels_that_ones_job_alone() {
    let mut app = App::start().await;
    app.worker = None;
    let (base, client, _serving) = beside(&app).await;
    let body = json!({"image": image("face")});
    let leaving = client.post(format!("{base}/v1/detect")).bearer_auth(&app.key).json(&body);
    let leaving = tokio::spawn(leaving.send());
    let staying = tokio::spawn(answer(app.call(Method::POST, "/v1/detect").json(&body)));
    while app.queue.depth(Lane::Interactive).await.unwrap().waiting < 2 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    assert!(leaving.await.is_err());
    drop(client);
    while app.cancelled.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    app.worker = Some(Worker::start(app.queue.clone(), app.store.clone()));
    staying.await.unwrap().expect(200);
    app.post("/v1/detect", body).await.expect(200);
    assert_eq!(app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst), 2, "the abandoned job was not done");
}
