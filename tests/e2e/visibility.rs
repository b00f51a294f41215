//! What an operator sees: health, timings, metrics, the API document and its page.

use testkit::{Person, Target};

use crate::{caller, collection_with};

#[tokio::test]
async fn it_says_that_it_lives_and_is_ready() {
    let client = caller().with_key("");
    drop(client.get("/livez").await.expect(200));
    drop(client.get("/readyz").await.expect(200));
    let system = caller().get("/v1/system").await.ok();
    let roles: Vec<_> = system["roles"].as_array().expect("roles").iter().filter_map(|r| r.as_str()).collect();
    let one_process = Target::shared().process().is_some();
    assert!(roles.contains(&"gateway") && (roles.contains(&"worker") || !one_process), "{system}");
    assert!(system["workers_ready"].as_u64().is_some_and(|n| n > 0), "{system}");
}

#[tokio::test]
async fn answers_say_where_the_time_went() {
    let client = collection_with("timings", &[Person::Astronaut]).await;
    let answer = client.identify("timings", &Person::Astronaut.photo()).await.expect(200);
    for stage in ["queue", "decode", "detect", "embed", "search"] {
        let ms = answer.stage_ms(stage);
        assert!(ms.is_some_and(|ms| ms > 0.0), "{stage}: {}", answer.header("server-timing"));
    }
    assert!(answer.stage_ms("detect") > answer.stage_ms("queue"), "{}", answer.header("server-timing"));
}

#[tokio::test]
async fn metrics_count_requests_and_stages() {
    let Some(app) = Target::shared().process_or_skip() else { return };
    let client = collection_with("metrics", &[Person::Astronaut]).await;
    drop(client.identify("metrics", &Person::Astronaut.photo()).await.ok());
    let metrics = app.metrics().await;
    let above_zero = |name: &str, label: &str| {
        metrics
            .lines()
            .filter(|l| l.starts_with(name) && l.contains(label))
            .any(|l| l.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).is_some_and(|v| v > 0.0))
    };
    for stage in ["queue", "decode", "detect", "align", "embed", "search"] {
        let name = "visavis_request_stage_seconds_sum";
        assert!(above_zero(name, &format!("stage=\"{stage}\"")), "{stage} in:\n{metrics}");
    }
    let route = "route=\"/v1/collections/{collection}/identify\"";
    assert!(above_zero("visavis_http_requests_total", "identify"), "{route} in:\n{metrics}");
    for secret in ["metrics", app.admin_key().as_str()] {
        let as_label = metrics.lines().any(|l| l.contains(&format!("=\"{secret}\"")));
        assert!(!as_label, "no ids and no keys in labels");
    }
}

#[tokio::test]
async fn the_document_describes_every_operation_and_its_page_works_offline() {
    let client = caller().with_key("");
    let document = client.get("/openapi.json").await.ok();
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.")));
    for (path, method) in [
        ("/v1/detect", "post"),
        ("/v1/compare", "post"),
        ("/v1/embeddings", "post"),
        ("/v1/collections", "get"),
        ("/v1/consents", "post"),
        ("/v1/api-keys", "post"),
        ("/v1/system", "get"),
    ] {
        assert!(document["paths"][path][method]["responses"].is_object(), "{method} {path}");
    }
    let page = client.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
    let text = page.text();
    for outside in ["src=\"http", "src='http", "href=\"http", "//cdn", "@import"] {
        assert!(!text.contains(outside), "the page loads something from elsewhere: {outside}");
    }
}

#[tokio::test]
async fn a_request_keeps_the_name_its_caller_gave_it() {
    let client = caller();
    let named = client.send(client.request("GET", "/v1/collections").header("x-request-id", "my-call-1")).await;
    assert_eq!(named.header("x-request-id"), "my-call-1");
    let unnamed = client.get("/v1/collections").await;
    assert!(!unnamed.header("x-request-id").is_empty());
}

/// Logs are for operators: no images, no vectors, no keys.
#[tokio::test]
async fn logs_hold_no_key_and_no_image() {
    let Some(app) = Target::shared().process_or_skip() else { return };
    let client = collection_with("logs", &[]).await;
    drop(client.enrol("logs", "zz-name-not-in-logs", &[Person::Astronaut.photo()]).await.expect(201));
    let output = app.output();
    let secret = app.admin_key().rsplit('_').next().expect("a secret").to_owned();
    let leaks: Vec<_> = output.lines().filter(|l| !l.contains("curl") && l.contains(&secret)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    assert!(!output.contains("zz-name-not-in-logs"), "names stay out of logs");
}
