//! What a key can be given: roles, addresses it may be used from, a second secret for a while, another tenant.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, App, answer};

/// Makes a key; its record and its text.
async fn made(app: &App, body: Value) -> (Value, String) {
    let made = app.post("/v1/api-keys", body).await.expect(201);
    let secret = made["secret"].as_str().unwrap().to_owned();
    (made, secret)
}

async fn list(app: &App, key: &str) -> Answer {
    answer(app.call_as(key, Method::GET, "/v1/collections")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_stands_for_its_scopes_and_is_shown_with_them() {
    let app = App::start().await;
    let (record, reader) = made(&app, json!({"name": "door", "roles": ["reader"]})).await;
    assert_eq!(record["roles"], json!(["reader"]));
    let scopes = json!(["detect", "compare", "embed", "subjects:read", "identify", "verify", "jobs"]);
    assert_eq!(record["scopes"], scopes);
    let path = format!("/v1/api-keys/{}", record["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.expect(200)["scopes"], scopes);
    list(&app, &reader).await.expect(200);
    let body = json!({"purposes": ["access_control"]});
    let write = app.call_as(&reader, Method::POST, "/v1/collections").json(&body);
    answer(write).await.problem(403, "forbidden", "subjects:write");

    let both = json!({"name": "desk", "roles": ["operator"], "scopes": ["audit"]});
    let (record, operator) = made(&app, both).await;
    assert!(record["scopes"].as_array().unwrap().contains(&json!("audit")), "{record}");
    answer(app.call_as(&operator, Method::POST, "/v1/collections").json(&body)).await.expect(201);
    // The least that may make keys cannot make one that may do more.
    let (_, small) = made(&app, json!({"name": "small", "scopes": ["keys", "detect"]})).await;
    let more = app.call_as(&small, Method::POST, "/v1/api-keys").json(&json!({"name": "x", "roles": ["reader"]}));
    answer(more).await.problem(403, "forbidden", "identify");
    for (bad, pointer) in [
        (json!({"name": "x"}), "/scopes"),
        (json!({"name": "x", "roles": [], "scopes": []}), "/scopes"),
        (json!({"name": "x", "roles": ["root"]}), "/roles/0"),
    ] {
        assert_eq!(app.post("/v1/api-keys", bad).await.problem(400, "invalid_request", "").pointer(), pointer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_what_each_role_may_do() {
    let document: Value = serde_json::from_str(&gateway::openapi_json()).unwrap();
    let told = document["components"]["securitySchemes"]["bearer"]["description"].as_str().unwrap();
    for role in domain::Role::ALL {
        let line = told.lines().find(|l| l.starts_with(&format!("- `{role}`:"))).unwrap();
        for scope in domain::Scope::ALL {
            assert_eq!(line.contains(&format!(" `{scope}`")), role.scopes().contains(scope), "{role} {scope}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_bound_to_addresses() {
    let app = App::start().await;
    let (_, here) =
        made(&app, json!({"name": "x", "scopes": ["subjects:read"], "cidrs": ["127.0.0.0/8", "::1"]})).await;
    let (record, there) =
        made(&app, json!({"name": "x", "scopes": ["subjects:read"], "cidrs": ["192.0.2.0/24"]})).await;
    assert_eq!(record["cidrs"], json!(["192.0.2.0/24"]));
    list(&app, &here).await.expect(200);
    list(&app, &there).await.problem(403, "forbidden", "address");
    let claimed = app.call_as(&there, Method::GET, "/v1/collections").header("x-forwarded-for", "192.0.2.7");
    answer(claimed).await.problem(403, "forbidden", "address");
    for (bad, pointer) in
        [(json!(["10.0.0.1/8"]), "/cidrs/0"), (json!(["here"]), "/cidrs/0"), (json!(vec!["192.0.2.1"; 65]), "/cidrs")]
    {
        let refused = app.post("/v1/api-keys", json!({"name": "x", "scopes": ["detect"], "cidrs": bad})).await;
        assert_eq!(refused.problem(400, "invalid_request", "").pointer(), pointer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_trusted_proxy_the_address_is_the_one_it_tells() {
    let app =
        App::start_with(|c| c.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]).await;
    let (_, key) = made(&app, json!({"name": "x", "scopes": ["subjects:read"], "cidrs": ["192.0.2.0/24"]})).await;
    let told = async |value: &str| {
        answer(app.call_as(&key, Method::GET, "/v1/collections").header("x-forwarded-for", value)).await
    };
    told("192.0.2.7").await.expect(200);
    for other in ["198.51.100.1", "192.0.2.7, 198.51.100.1", "unknown", ""] {
        told(other).await.problem(403, "forbidden", "address");
    }
    list(&app, &key).await.problem(403, "forbidden", "address");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_former_secret_is_accepted_while_its_grace_lasts() {
    let app = App::start().await;
    let (record, first) = made(&app, json!({"name": "x", "scopes": ["subjects:read"]})).await;
    let path = format!("/v1/api-keys/{}", record["id"].as_str().unwrap());
    let rotate = async |body: Value| app.post(&format!("{path}/rotate"), body).await;
    let second = rotate(json!({"grace_seconds": 3600})).await.expect(200);
    assert!(second["former_accepted_until"].is_string(), "{second}");
    let second = second["secret"].as_str().unwrap().to_owned();
    for key in [&first, &second] {
        list(&app, key).await.expect(200);
    }
    assert!(app.get(&path).await.expect(200)["former_accepted_until"].is_string());
    let third = rotate(json!({"grace_seconds": 60})).await.expect(200)["secret"].as_str().unwrap().to_owned();
    list(&app, &first).await.problem(401, "unauthenticated", "secret is wrong");
    for key in [&second, &third] {
        list(&app, key).await.expect(200);
    }
    // In an emergency both are gone at once.
    let last = rotate(json!({})).await.expect(200);
    assert_eq!(last.get("former_accepted_until"), None);
    for key in [&second, &third] {
        list(&app, key).await.problem(401, "unauthenticated", "secret is wrong");
    }
    list(&app, last["secret"].as_str().unwrap()).await.expect(200);
    let refused = rotate(json!({"grace_seconds": 604_801})).await;
    assert_eq!(refused.problem(400, "invalid_request", "seven days").pointer(), "/grace_seconds");
    rotate(json!({"grace": 1})).await.problem(400, "invalid_request", "grace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_begins_with_its_first_key_and_manages_its_own_from_then_on() {
    let app = App::start().await;
    let body = json!({"name": "first", "roles": ["admin"], "tenant": "acme"});
    let (record, acme) = made(&app, body.clone()).await;
    assert_eq!(record["tenant"], "acme");
    let location = format!("/v1/api-keys/{}", record["id"].as_str().unwrap());
    let as_acme =
        async |method: Method, path: &str, body: Value| answer(app.call_as(&acme, method, path).json(&body)).await;
    let more = as_acme(Method::POST, "/v1/api-keys", json!({"name": "second", "roles": ["reader"]})).await.expect(201);
    assert_eq!(more["tenant"], "acme", "the caller's tenant unless another is named");

    // Without the scope `tenants`, which no role has, there is no way to another tenant.
    let default_key = app.key.split('_').nth(1).unwrap();
    for (method, path) in [
        (Method::GET, "/v1/api-keys?tenant=default".to_owned()),
        (Method::GET, format!("/v1/api-keys/{default_key}?tenant=default")),
        (Method::POST, format!("/v1/api-keys/{default_key}/rotate?tenant=default")),
        (Method::DELETE, format!("/v1/api-keys/{default_key}?tenant=default")),
    ] {
        as_acme(method, &path, json!({})).await.problem(403, "forbidden", "tenants");
    }
    let foreign = json!({"name": "x", "scopes": ["detect"], "tenant": "default"});
    as_acme(Method::POST, "/v1/api-keys", foreign).await.problem(403, "forbidden", "tenants");
    as_acme(Method::GET, &format!("/v1/api-keys/{default_key}"), json!({})).await.problem(404, "key_not_found", "");
    let greedy = json!({"name": "x", "scopes": ["tenants"]});
    as_acme(Method::POST, "/v1/api-keys", greedy.clone()).await.problem(403, "forbidden", "tenants");
    let gift = json!({"name": "x", "scopes": ["tenants"], "tenant": "acme"});
    app.post("/v1/api-keys", gift).await.problem(403, "forbidden", "another tenant");
    made(&app, greedy).await;

    // The first key's tenant looks after the other's keys.
    let listed = app.get("/v1/api-keys?tenant=acme").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    app.get(&location).await.problem(404, "key_not_found", "");
    app.get(&format!("{location}?tenant=acme")).await.expect(200);
    let rotated = app.post(&format!("{location}/rotate?tenant=acme"), json!({})).await.expect(200);
    list(&app, &acme).await.problem(401, "unauthenticated", "");
    list(&app, rotated["secret"].as_str().unwrap()).await.expect(200);
    assert_eq!(app.delete(&format!("{location}?tenant=acme")).await.status, 204);
    list(&app, rotated["secret"].as_str().unwrap()).await.problem(401, "unauthenticated", "");
    let misspelt = app.get("/v1/api-keys?tennant=acme").await;
    misspelt.problem(400, "invalid_request", "tennant");

    let text = prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    for line in
        [r#"{status="2xx",tenant="acme"}"#, r#"{status="4xx",tenant="acme"}"#, r#"{status="2xx",tenant="default"}"#]
    {
        assert!(text.contains(&format!("visavis_tenant_requests_total{line}")), "{line} in:\n{text}");
    }
}
