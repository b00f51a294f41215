//! What is refused before it is read: too much for the lane, for a key, for now.

use std::sync::atomic::Ordering;

use domain::Lane;
use queue::{ConsumerOptions, Rate};
use reqwest::Method;
use serde_json::json;

use crate::app::{App, answer, image};

#[tokio::test(flavor = "multi_thread")]
async fn a_keys_rate_is_told_and_kept() {
    // So slow that nothing comes back while the test runs.
    let rate = Rate { per_second: 0.001, burst: 4 };
    let app = App::start_with(|c| c.limits.key_rate = Some(rate)).await;
    let other = app.key_with(&["subjects:read"]).await;
    let left = async || app.get("/v1/collections").await;
    for remaining in ["2", "1", "0"] {
        let got = left().await;
        assert_eq!(
            (got.status, got.header("ratelimit-limit"), got.header("ratelimit-remaining")),
            (200, "4", remaining)
        );
        assert!(got.header("ratelimit-reset").parse::<u32>().unwrap() > 900);
    }
    let refused = left().await;
    assert_eq!(refused.problem(429, "rate_limited", "this API key").body["retryable"], true);
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 900);
    let others = answer(app.call_as(&other, Method::GET, "/v1/collections")).await;
    assert_eq!((others.status, others.header("ratelimit-remaining")), (200, "3"), "each key has its own");
    let public = app.get("/livez").await;
    assert_eq!((public.status, public.header("ratelimit-limit")), (200, ""));
    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    assert!(text.contains(r#"visavis_requests_refused_total{reason="key_rate"} 1"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_only_so_many_requests_at_once() {
    let app = App::start_with(|c| c.limits.key_in_flight = Some(1)).await;
    let other = app.key_with(&["subjects:read"]).await;
    let slow =
        app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "1000").json(&json!({"image": image("silent")}));
    let slow = tokio::spawn(answer(slow));
    while app.worker.as_ref().unwrap().taken.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    app.get("/v1/collections").await.problem(429, "rate_limited", "at once");
    assert_eq!(answer(app.call_as(&other, Method::GET, "/v1/collections")).await.status, 200);
    slow.await.unwrap().problem(504, "deadline_exceeded", "");
    assert_eq!(app.get("/v1/collections").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_would_be_late_is_refused_and_work_with_time_is_not() {
    let mut app = App::start().await;
    app.worker = None;
    let body = json!({"image": image("face")});
    for _ in 0..80 {
        let accepted = answer(app.call(Method::POST, "/v1/detect").header("prefer", "respond-async").json(&body)).await;
        assert_eq!(accepted.status, 202, "nobody waits on the bulk lane");
    }
    // The same jobs where somebody waits.
    let bulk = app.queue.consumer(Lane::Bulk, ConsumerOptions::default());
    let mut held = Vec::new();
    while held.len() < 80 {
        for delivery in bulk.next(80).await.unwrap() {
            app.queue.submit(Lane::Interactive, &delivery.envelope).await.unwrap();
            held.push(delivery);
        }
    }
    // Until the lane has been looked at the queue itself refuses, when the body has been read.
    let refused = loop {
        let got = answer(app.call(Method::POST, "/v1/detect").header("x-deadline-ms", "100").json(&body)).await;
        if got.body["detail"].as_str().unwrap().contains("jobs are waiting") {
            break got;
        }
        assert!(matches!(got.status, 503 | 504), "{got:?}");
    };
    refused.problem(503, "overloaded", "within 100 ms");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() >= 1);
    let patient = app.call(Method::POST, "/v1/detect").header("prefer", "wait=1").json(&body);
    assert_eq!(answer(patient).await.status, 202);
    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    assert!(text.contains(r#"visavis_requests_refused_total{reason="estimated_wait"} 1"#), "{text}");
    for lane in ["interactive", "bulk", "train"] {
        for name in ["visavis_queue_depth", "visavis_queue_in_flight", "visavis_queue_oldest_age_seconds"] {
            assert!(text.contains(&format!("{name}{{lane=\"{lane}\"}}")), "{name} {lane}");
        }
    }
    assert!(text.contains("visavis_workers 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_job_is_taken_while_the_interactive_lane_is_full() {
    let mut app = App::start_with(|c| c.limits.queue_depth = 2).await;
    app.collection("staff").await;
    app.worker = None;
    let body = json!({"image": image("face")});
    for _ in 0..2 {
        let waiting = app.call(Method::POST, "/v1/detect").header("prefer", "wait=1").json(&body);
        assert_eq!(answer(waiting).await.status, 202);
    }
    app.post("/v1/detect", body).await.problem(503, "overloaded", "waiting");
    let items = json!([{"images": [image("face")]}]);
    let job = json!({"kind": "bulk_identify", "collection_id": "staff", "items": items});
    app.post("/v1/jobs", job).await.expect(202);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_may_not_do_counts_against_its_rate_too() {
    let app = App::start_with(|c| c.limits.key_rate = Some(Rate { per_second: 0.001, burst: 2 })).await;
    let small = app.key_with(&["detect"]).await;
    for remaining in ["1", "0"] {
        let refused = answer(app.call_as(&small, Method::GET, "/v1/collections")).await;
        refused.problem(403, "forbidden", "subjects:read");
        assert_eq!(refused.header("ratelimit-remaining"), remaining);
    }
    answer(app.call_as(&small, Method::GET, "/v1/collections")).await.problem(429, "rate_limited", "");
}
