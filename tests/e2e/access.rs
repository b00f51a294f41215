//! Who may call: keys and scopes, and the life of a key.

use serde_json::{Value, json};
use testkit::{Client, Person};

use crate::caller;

/// A key with these scopes: its record and its text.
async fn make_key(client: &Client, name: &str, scopes: &[&str]) -> (Value, String) {
    let made = client.post("/v1/api-keys", &json!({"name": name, "scopes": scopes})).await.expect(201).json;
    let text = made["secret"].as_str().expect("the key is shown once").to_owned();
    assert!(text.starts_with("vv_"), "{text}");
    (made, text)
}

#[tokio::test]
async fn without_a_key() {
    let answer = caller().with_key("").get("/v1/collections").await.expect(401);
    assert!(answer.problem("unauthenticated").contains("Authorization"), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"visavis\"");
}

#[tokio::test]
async fn with_a_wrong_key() {
    let client = caller();
    let mut wrong_secret = testkit::Target::shared().admin_key().to_owned();
    let last = if wrong_secret.pop() == Some('a') { 'b' } else { 'a' };
    wrong_secret.push(last);
    let unknown = "vv_0123456789abcdef_000000000000000000000000000000000000000000000000";
    for key in [wrong_secret.as_str(), unknown] {
        let answer = client.with_key(key).get("/v1/collections").await.expect(401);
        let detail = answer.problem("unauthenticated");
        assert!(detail.contains("not known") && !answer.text().contains(key), "{detail}");
    }
    for garbage in ["garbage", "vv_", "vv_a_b"] {
        let answer = client.with_key(garbage).get("/v1/collections").await.expect(401);
        assert!(answer.problem("unauthenticated").contains("vv_<id>_<secret>"));
    }
}

#[tokio::test]
async fn with_a_key_that_lacks_the_scope() {
    let admin = caller();
    let (_, key) = make_key(&admin, "only detects", &["detect"]).await;
    let client = admin.with_key(&key);
    let seen = client.detect(Person::Astronaut.photo()).await.ok();
    assert_eq!(seen["items"][0]["faces"].as_array().map(Vec::len), Some(1));
    let body = json!({"id": "scope-lack", "purposes": ["access_control"]});
    let answer = client.post("/v1/collections", &body).await.expect(403);
    assert!(answer.problem("forbidden").contains("subjects:write"), "the missing scope is named: {}", answer.text());
    drop(admin.get("/v1/collections/scope-lack").await.expect(404));
}

#[tokio::test]
async fn a_key_is_made_listed_rotated_and_deleted() {
    let admin = caller();
    let (made, first) = make_key(&admin, "life of a key", &["subjects:read"]).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    let first_caller = admin.with_key(&first);
    drop(first_caller.get("/v1/collections").await.expect(200));

    let listed = admin.get("/v1/api-keys?limit=100").await.ok();
    let entry =
        listed["items"].as_array().expect("items").iter().find(|k| k["id"] == id.as_str()).expect("it is listed");
    assert_eq!(entry["name"], "life of a key");
    assert_eq!(entry["scopes"], json!(["subjects:read"]));
    let secret = first.rsplit('_').next().expect("a secret");
    assert!(!listed.to_string().contains(secret) && !listed.to_string().contains("sha256"), "secrets are not listed");

    let rotated = admin.post(&format!("/v1/api-keys/{id}/rotate"), &json!({})).await.ok();
    let second = rotated["secret"].as_str().expect("the new key").to_owned();
    assert_ne!(first, second);
    drop(first_caller.get("/v1/collections").await.expect(401));
    drop(admin.with_key(&second).get("/v1/collections").await.expect(200));

    drop(admin.delete(&format!("/v1/api-keys/{id}")).await.ok());
    drop(admin.with_key(&second).get("/v1/collections").await.expect(401));
    let gone = admin.delete(&format!("/v1/api-keys/{id}")).await.expect(404);
    assert!(!gone.problem("key_not_found").is_empty());
}

#[tokio::test]
async fn an_unknown_scope_is_named() {
    let body = json!({"name": "typo", "scopes": ["detct"]});
    let answer = caller().post("/v1/api-keys", &body).await.expect(400);
    assert!(answer.problem("invalid_request").contains("detct"), "{}", answer.text());
}
