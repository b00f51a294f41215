//! The OpenAPI document: up to date, complete, and true of what is answered. The docs page: works offline.

use reqwest::Method;
use serde_json::Value;

use crate::app::{App, answer};

fn document() -> Value {
    serde_json::from_str(&gateway::openapi_json()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let flat = paths
        .iter()
        .flat_map(|(p, i)| i.as_object().unwrap().iter().map(move |(m, o)| (p.clone(), m.clone(), o.clone())));
    flat.collect()
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == gateway::openapi_json(),
        "services/gateway/openapi.json is out of date; run: cargo run -- openapi > services/gateway/openapi.json"
    );
}

#[test]
fn every_operation_is_described_and_tells_its_problems() {
    let codes: Vec<&str> = domain::ErrorCode::ALL.iter().map(|c| c.slug()).collect();
    for (path, method, op) in operations(&document()) {
        let name = format!("{method} {path}");
        assert!(op["summary"].as_str().is_some_and(|s| !s.is_empty()), "{name}");
        assert_eq!(op["tags"].as_array().map(Vec::len), Some(1), "{name}");
        let responses = op["responses"].as_object().unwrap();
        assert!(responses.keys().any(|s| s.starts_with('2')), "{name}");
        for (status, response) in responses.iter().filter(|(s, _)| s.starts_with(['4', '5'])) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{name} {status}");
            let told = response["description"].as_str().unwrap();
            for slug in told.split('`').skip(1).step_by(2) {
                let code = domain::ErrorCode::from_slug(slug).unwrap_or_else(|| panic!("{name}: {slug}"));
                assert_eq!(code.status().to_string(), *status, "{name}: {slug}");
                assert!(codes.contains(&slug));
            }
        }
        let needs = |status: &'static str| assert!(responses.contains_key(status), "{name} lacks {status}");
        needs("500");
        if op.get("security").is_some() {
            ["401", "403", "503"].into_iter().for_each(needs);
        }
        if op.get("requestBody").is_some() {
            ["400", "413", "415"].into_iter().for_each(needs);
        }
        if path.contains('{') {
            needs("404");
        }
        assert!(op.get("x-problems").is_none(), "{name}");
    }
}

#[test]
fn references_lead_somewhere_and_every_property_is_explained() {
    let document = document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|s| s.split('"').next().unwrap()) {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (property, form) in schema["properties"].as_object().into_iter().flatten() {
            let told = form.get("description").is_some() || form.to_string().contains("$ref");
            assert!(told, "{name}.{property} has no description");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_document_is_the_committed_one_and_the_page_needs_nothing_else() {
    let app = App::start().await;
    assert_eq!(answer(app.anonymous(Method::GET, "/openapi.json")).await.expect(200), document());
    let page = answer(app.anonymous(Method::GET, "/docs")).await;
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"),
        "{policy}"
    );
    let html = page.body.as_str().unwrap();
    assert!(html.contains("/openapi.json") && !html.contains("/*STYLE*/") && !html.contains("/*SCRIPT*/"));
    for foreign in ["http://", "https://", "//cdn", "@import"] {
        let used = html.replace("https://localhost", "").replace("http://www.w3.org", "");
        assert!(!used.contains(foreign), "the page reaches for {foreign}");
    }
}
