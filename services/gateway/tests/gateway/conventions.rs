//! What holds for every request: ids, headers, limits, problems of the framework's own making.

use std::time::Duration;

use reqwest::{Body, Method};
use serde_json::json;

use crate::app::{App, answer, client, image};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_problems_too() {
    let app = App::start().await;
    app.get("/v1/nothing").await.problem(404, "not_found", "/docs");
    let refused = answer(app.call(Method::PUT, "/v1/collections")).await;
    refused.problem(405, "method_not_allowed", "POST");
    assert!(refused.header("allow").contains("GET") && refused.header("allow").contains("POST"));
    answer(app.anonymous(Method::GET, "/v1/detect")).await.problem(405, "method_not_allowed", "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_id_is_kept_or_made_and_always_answered() {
    let app = App::start().await;
    let kept = answer(app.call(Method::GET, "/v1/collections").header("x-request-id", "my-id.7")).await;
    assert_eq!(kept.header("x-request-id"), "my-id.7");
    for bad in ["a b", "../x", &"k".repeat(65)] {
        let made = answer(app.call(Method::GET, "/v1/nothing").header("x-request-id", bad)).await;
        assert!(made.header("x-request-id").len() == 36, "{bad}");
        made.problem(404, "not_found", "");
    }
    let got = app.get("/v1/collections").await;
    assert_eq!((got.header("x-content-type-options"), got.header("cache-control")), ("nosniff", "no-store"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_larger_than_allowed_are_refused_announced_or_streamed() {
    let app = App::start_with(|c| {
        c.limits.request_bytes = 200_000;
        c.limits.json_bytes = 10_000;
        c.limits.image_bytes = 50_000;
    })
    .await;
    let detect = |body: Body| app.call(Method::POST, "/v1/detect").header("content-type", "image/png").body(body);
    answer(detect(vec![0; 200_001].into())).await.problem(413, "payload_too_large", "200000");
    let chunks = futures::stream::iter((0..50).map(|_| Ok::<_, std::io::Error>(vec![0u8; 5_000])));
    answer(detect(Body::wrap_stream(chunks))).await.problem(413, "payload_too_large", "200000");
    answer(detect(vec![0; 50_001].into())).await.problem(413, "payload_too_large", "50000");
    let body = json!({"purposes": ["a"], "name": "x".repeat(10_000)});
    app.post("/v1/collections", body).await.problem(413, "payload_too_large", "10000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_caller_is_answered_before_the_body_is_sent() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = App::start().await;
    let config = rustls_client(&app);
    let port: u16 = app.base.rsplit_once(':').unwrap().1.parse().unwrap();
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut tls = tokio_rustls::TlsConnector::from(config).connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    let head = "POST /v1/detect HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: 9999999\r\n\r\n";
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut got = vec![0; 12];
    tokio::time::timeout(Duration::from_secs(10), tls.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(got, b"HTTP/1.1 401");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_caller_that_is_still_sending() {
    let app = App::start_with(|c| c.limits.request_bytes = 1_000_000).await;
    let url = format!("{}/v1/detect", app.base);
    let old = client(&app.config, reqwest::ClientBuilder::http1_only);
    for client in [client(&app.config, |c| c), old] {
        let send = |key: &str| {
            let request = client.post(&url).bearer_auth(key).header("content-type", "image/png");
            answer(request.body(vec![0; 8_000_000]))
        };
        send("vv_nobody_0123456789abcdef").await.problem(401, "unauthenticated", "");
        send(&app.key).await.problem(413, "payload_too_large", "");
    }
}

fn rustls_client(app: &App) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&app.config.tls.cert).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    std::sync::Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_and_their_parameters_are_checked() {
    let app = App::start().await;
    for i in 0..5 {
        app.collection(&format!("c{i}")).await;
    }
    let mut ids = Vec::new();
    let mut path = "/v1/collections?limit=2".to_owned();
    loop {
        let page = app.get(&path).await.expect(200);
        ids.extend(page["items"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/collections?limit=2&cursor={cursor}");
    }
    assert_eq!(ids, ["c0", "c1", "c2", "c3", "c4"]);
    app.get("/v1/collections?cursor=made-up").await.problem(400, "invalid_cursor", "begin again");
    for bad in ["limit=0", "limit=101", "limit=many"] {
        let refused = app.get(&format!("/v1/collections?{bad}")).await;
        assert_eq!(refused.problem(400, "invalid_request", "").pointer(), "limit", "{bad}");
    }
    app.get("/v1/collections?color=red").await.problem(400, "invalid_request", "color");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_missing_fields_unknown_fields_and_wrong_types_are_named() {
    let app = App::start().await;
    let post = |kind: &'static str, body: &'static str| {
        answer(app.call(Method::POST, "/v1/collections").header("content-type", kind).body(body))
    };
    post("application/json", "{nonsense").await.problem(400, "invalid_request", "line 1");
    post("application/json", "").await.problem(400, "invalid_request", "empty");
    post("text/plain", "{}").await.problem(415, "unsupported_media_type", "application/json");
    let missing = post("application/json", "{}").await;
    assert_eq!(missing.problem(400, "invalid_request", "missing field").pointer(), "/purposes");
    let unknown = post("application/json", r#"{"purposes":["a"],"colour":"red"}"#).await;
    assert_eq!(unknown.problem(400, "invalid_request", "unknown field").pointer(), "/colour");
    let wrong = post("application/json", r#"{"purposes":["a"],"decision":{"target_fpir":"x"}}"#).await;
    assert_eq!(wrong.problem(400, "invalid_request", "").pointer(), "/decision/target_fpir");
    let id = post("application/json", r#"{"purposes":["a"],"id":"../x"}"#).await;
    assert_eq!(id.problem(400, "invalid_request", "letters, digits").pointer(), "/id");
    app.get("/v1/collections/%2e%2e%2fx").await.problem(400, "invalid_request", "collection id may hold only");
    for (kind, body) in [("image/gif", "x"), ("", "x"), ("application/x-www-form-urlencoded", "a=b")] {
        let refused = answer(app.call(Method::POST, "/v1/detect").header("content-type", kind).body(body)).await;
        refused.problem(415, "unsupported_media_type", "image/jpeg");
    }
    let form = app.call(Method::POST, "/v1/detect").header("content-type", "multipart/form-data").body("x");
    answer(form).await.problem(400, "invalid_request", "boundary");
    let form = app.call(Method::POST, "/v1/detect").header("content-type", "multipart/form-data; boundary=b").body("x");
    answer(form).await.problem(400, "invalid_request", "form");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_kept_and_checked() {
    let app = App::start().await;
    let call = |deadline: &'static str, content: &str| {
        app.call(Method::POST, "/v1/detect").header("x-deadline-ms", deadline).json(&json!({"image": image(content)}))
    };
    let late = answer(call("150", "silent")).await;
    assert_eq!(late.problem(504, "deadline_exceeded", "150 ms").body["retryable"], true);
    for bad in ["0", "soon", "-5"] {
        assert_eq!(answer(call(bad, "face")).await.problem(400, "invalid_request", "").pointer(), "x-deadline-ms");
    }
    assert_eq!(answer(call("99999999", "face")).await.status, 200);
    let sent = app.worker.as_ref().unwrap().last();
    assert!(sent.deadline_ms - sent.created_ms <= 60_000, "the deadline is capped");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_gets_says_who_asked_and_where_to_answer() {
    let app = App::start().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = app.call(Method::POST, "/v1/detect").header("traceparent", trace).header("x-request-id", "r-9");
    let answered = answer(request.json(&json!({"image": image("face")}))).await;
    assert_eq!(answered.header("server-timing"), "queue;dur=0.250, decode;dur=1.500");
    answered.expect(200);
    let sent = app.worker.as_ref().unwrap().last();
    assert_eq!((sent.tenant.as_str(), sent.request_id.as_str(), sent.traceparent.as_str()), ("default", "r-9", trace));
    assert_eq!(sent.key_id, app.key.split('_').nth(1).unwrap());
    assert!(!sent.reply_to.is_empty() && !sent.keep_result);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_http_versions_are_spoken_and_only_tls_1_3() {
    let app = App::start().await;
    let url = format!("{}/livez", app.base);
    let two = client(&app.config, |c| c).get(&url).send().await.unwrap();
    assert_eq!(two.version(), reqwest::Version::HTTP_2);
    let one = client(&app.config, reqwest::ClientBuilder::http1_only).get(&url).send().await.unwrap();
    assert_eq!(one.version(), reqwest::Version::HTTP_11);
    let old = client(&app.config, |c| c.tls_version_max(reqwest::tls::Version::TLS_1_2));
    assert!(old.get(&url).send().await.is_err(), "TLS 1.2 is off unless asked for");
}
