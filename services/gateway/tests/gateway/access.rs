//! Who may do what: every operation of the document, without and with too little credential.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, answer};

/// Method, path with ids filled in, scope.
fn operations(document: &Value) -> Vec<(Method, String, Option<String>)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let filled = ["collection", "subject", "face", "consent", "job", "key"]
                .iter()
                .fold(path.clone(), |p, name| p.replace(&format!("{{{name}}}"), "x1"));
            let scope = operation["security"][0]["bearer"][0].as_str().map(str::to_owned);
            found.push((method.to_uppercase().parse().unwrap(), filled, scope));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_a_credential_and_its_scope_but_the_public_five() {
    let app = App::start().await;
    let document: Value = serde_json::from_str(&gateway::openapi_json()).unwrap();
    let mut public = Vec::new();
    for (method, path, scope) in operations(&document) {
        let Some(scope) = scope else {
            assert!(answer(app.anonymous(method, &path)).await.status < 400, "{path}");
            public.push(path);
            continue;
        };
        let refused = answer(app.anonymous(method.clone(), &path)).await;
        refused.problem(401, "unauthenticated", "Authorization: Bearer");
        assert!(refused.header("www-authenticate").starts_with("Bearer"), "{path}");
        let others: Vec<&str> = domain::Scope::ALL.iter().map(|s| s.as_str()).filter(|s| *s != scope).collect();
        let key = app.key_with(&others).await;
        let refused = answer(app.call_as(&key, method.clone(), &path)).await;
        refused.problem(403, "forbidden", &scope);
    }
    assert_eq!(public, ["/.well-known/jwks.json", "/docs", "/livez", "/openapi.json", "/readyz"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_keys_and_wrong_secrets_cannot_be_told_apart() {
    let app = App::start().await;
    let secret = app.key.rsplit_once('_').unwrap().1;
    let wrong = format!("{}_{}", app.key.rsplit_once('_').unwrap().0, "0".repeat(secret.len()));
    let unknown = format!("vv_nobody_{secret}");
    let mut bodies = Vec::new();
    for key in [wrong, unknown] {
        let refused = answer(app.call_as(&key, Method::GET, "/v1/collections").header("x-request-id", "same")).await;
        refused.problem(401, "unauthenticated", "not known, or its secret is wrong");
        bodies.push(refused.body);
    }
    assert_eq!(bodies[0], bodies[1]);
    for malformed in ["Basic abc", "Bearer", "Bearer x", "vv_a_b"] {
        let request = app.anonymous(Method::GET, "/v1/collections").header("authorization", malformed);
        answer(request).await.problem(401, "unauthenticated", "vv_<id>_<secret>");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_lives_from_creation_to_rotation_expiry_and_deletion() {
    let app = App::start().await;
    let made = app.post("/v1/api-keys", json!({"name": "door", "scopes": ["detect", "keys"]})).await;
    let location = made.header("location").to_owned();
    let made = made.expect(201);
    let first = made["secret"].as_str().unwrap().to_owned();
    assert!(first.starts_with(&format!("vv_{}_", made["id"].as_str().unwrap())));
    let shown = app.get(&location).await.expect(200);
    assert_eq!((shown["name"].as_str(), shown.get("secret")), (Some("door"), None));
    assert!(!app.get("/v1/api-keys").await.expect(200).to_string().contains("sha256"));

    let rotated = answer(app.call(Method::POST, &format!("{location}/rotate"))).await.expect(200);
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    answer(app.call_as(&first, Method::GET, &location)).await.problem(401, "unauthenticated", "secret is wrong");
    assert_eq!(answer(app.call_as(&second, Method::GET, &location)).await.status, 200);

    assert_eq!(app.delete(&location).await.status, 204);
    answer(app.call_as(&second, Method::GET, &location)).await.problem(401, "unauthenticated", "not known");
    app.get(&location).await.problem(404, "key_not_found", "no API key");
    app.delete(&location).await.problem(404, "key_not_found", "");

    let past = json!({"name": "x", "scopes": ["detect"], "expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(app.post("/v1/api-keys", past).await.problem(400, "invalid_request", "past").pointer(), "/expires_at");
    let (id, secret) = ("old", "0123456789abcdef");
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(secret));
    let (id_, tenant) = (id.parse().unwrap(), "default".parse().unwrap());
    let expired = domain::ApiKey {
        expires_at: Some(domain::Timestamp::now()),
        ..domain::ApiKey::new(id_, tenant, [domain::Scope::Keys].into(), hash)
    };
    store::ApiKeys::new(app.store.clone()).create(&expired).await.unwrap();
    let late = answer(app.call_as(&format!("vv_{id}_{secret}"), Method::GET, "/v1/api-keys")).await;
    late.problem(401, "unauthenticated", "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_cannot_pass_on_or_take_over_scopes_it_does_not_have() {
    let app = App::start().await;
    let small = app.key_with(&["keys", "detect"]).await;
    let body = json!({"name": "more", "scopes": ["detect", "identify"]});
    let refused = answer(app.call_as(&small, Method::POST, "/v1/api-keys").json(&body)).await;
    refused.problem(403, "forbidden", "identify");
    let admin = app.key.split('_').nth(1).unwrap();
    let taken = answer(app.call_as(&small, Method::POST, &format!("/v1/api-keys/{admin}/rotate"))).await;
    taken.problem(403, "forbidden", "scope");
}
