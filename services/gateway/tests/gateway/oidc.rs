//! Callers with tokens: a real identity provider over HTTPS, and every way in which a token can be wrong.

use std::{sync::atomic::Ordering, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::{KeySource, TenantRule};
use queue::Rate;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{Signer, compact, key_set, unix_seconds};

use crate::{
    app::{Answer, App, answer, consent, image},
    issuer::Issuer,
};

/// A gateway that believes this issuer.
async fn app_of(issuer: &Issuer) -> App {
    let config = issuer.config();
    App::start_with(|c| c.issuers = vec![config]).await
}

async fn list(app: &App, token: &str) -> Answer {
    answer(app.call_as(token, Method::GET, "/v1/collections")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_every_algorithm_are_accepted_and_do_what_their_scopes_allow() {
    let signers = [Signer::rsa("r"), Signer::p256("e"), Signer::ed25519("o")];
    let issuer = Issuer::start(&signers.each_ref()).await;
    let app = app_of(&issuer).await;
    app.collection("staff").await;
    for signer in &signers {
        let token = signer.token(&issuer.claims("anna", "openid subjects:read"));
        let seen = list(&app, &token).await.expect(200);
        assert_eq!(seen["items"][0]["id"], "staff", "the tenant that the issuer speaks for");
        let refused = answer(app.call_as(&token, Method::DELETE, "/v1/collections/staff")).await;
        refused.problem(403, "forbidden", "erase");
        let mut roles = issuer.claims("anna", "");
        roles["groups"] = json!(["face-readers", "admin"]);
        let token = signer.token(&roles);
        list(&app, &token).await.expect(200);
        let refused = answer(app.call_as(&token, Method::GET, "/v1/api-keys")).await;
        refused.problem(403, "forbidden", "keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_starts_belongs_to_its_subject_whatever_the_token() {
    let signer = Signer::ed25519("k");
    let issuer = Issuer::start(&[&signer]).await;
    let app = app_of(&issuer).await;
    app.collection("staff").await;
    let token = |subject: &str, jti: u32| {
        let mut claims = issuer.claims(subject, "subjects:write jobs");
        claims["jti"] = jti.into();
        signer.token(&claims)
    };
    let body = json!({"id": "p1", "consent": consent(), "image": image("face")});
    let enrol = |token: &str| {
        let request = app.call_as(token, Method::POST, "/v1/collections/staff/subjects");
        answer(request.header("idempotency-key", "once").json(&body))
    };
    let first = enrol(&token("anna", 1)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{first:?}");
    let again = enrol(&token("anna", 2)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, "true"), "a later token of hers");
    enrol(&token("bert", 3)).await.problem(409, "conflict", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_in_one_thing_is_refused() {
    let (signer, rsa, other) = (Signer::ed25519("k"), Signer::rsa("r"), Signer::ed25519("k"));
    let issuer = Issuer::start(&[&signer, &rsa]).await;
    let app = app_of(&issuer).await;
    let good = issuer.claims("anna-the-subject", "subjects:read");
    list(&app, &signer.token(&good)).await.expect(200);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        signer.token(&claims)
    };
    let header = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.token_with(&header, &good)
    };
    let now = unix_seconds();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, rsa.jwk()["n"].as_str().unwrap().as_bytes());
    let symmetric = compact(&json!({"alg": "HS256", "kid": "r"}), &good, |m| hmac::sign(&secret, m).as_ref().to_vec());
    let valid = signer.token(&good);
    let forged = {
        let mut more = good.clone();
        more["scope"] = "erase".into();
        let claims = URL_SAFE_NO_PAD.encode(more.to_string());
        let parts: Vec<&str> = valid.split('.').collect();
        [parts[0], &claims, parts[2]].join(".")
    };
    for (token, why) in [
        (with("iss", json!("https://elsewhere.example")), "iss"),
        (with("iss", json!(format!("{}/", issuer.url))), "iss"),
        (with("iss", json!([issuer.url])), "iss"),
        (with("aud", json!("another-service")), "aud"),
        (with("exp", json!(now - 61)), "expired"),
        (with("nbf", json!(now + 90)), "nbf"),
        (with("iat", json!(now + 90)), "iat"),
        (with("sub", json!("")), "sub"),
        (compact(&json!({"alg": "none"}), &good, |_| Vec::new()), "alg"),
        (compact(&json!({"alg": "None", "kid": "k"}), &good, |_| vec![0; 64]), "alg"),
        (symmetric, "alg"),
        (header("alg", json!("RS256")), "kid"),
        (header("kid", json!("r")), "kid"),
        (header("crit", json!(["exp"])), "critical"),
        (header("typ", json!("logout+jwt")), "type"),
        (other.token(&good), "signature"),
        (compact(&signer.header(), &good, |_| vec![0; 64]), "signature"),
        (compact(&signer.header(), &good, |_| Vec::new()), "signature"),
        (forged, "signature"),
        ("a.b.c".into(), "base64url"),
        (format!("{}.{}.{}", "x".repeat(3000), "y".repeat(3000), "z".repeat(3000)), "8 KiB"),
        ("..".into(), "header"),
    ] {
        let refused = list(&app, &token).await;
        refused.problem(401, "unauthenticated", why);
        let text = refused.body.to_string();
        assert!(!text.contains("anna-the-subject") && !text.contains("elsewhere"), "{text}");
    }
    for within in [with("exp", json!(now - 30)), with("nbf", json!(now + 30)), with("aud", json!(["x", "visavis"]))] {
        list(&app, &within).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_taken_up_when_the_first_token_names_it_and_an_old_one_dropped() {
    let (old, new) = (Signer::p256("2026-01"), Signer::p256("2026-02"));
    let issuer = Issuer::start(&[&old]).await;
    let app = app_of(&issuer).await;
    let claims = issuer.claims("anna", "subjects:read");
    list(&app, &old.token(&claims)).await.expect(200);
    let before = issuer.fetches();
    list(&app, &new.token(&claims)).await.problem(401, "unauthenticated", "kid");
    assert_eq!(issuer.fetches(), before + 1, "it looked once more");
    issuer.publish(&[&new]);
    list(&app, &old.token(&claims)).await.expect(200);
    list(&app, &new.token(&claims)).await.expect(200);
    list(&app, &old.token(&claims)).await.problem(401, "unauthenticated", "kid");
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_keys_do_not_drive_requests_to_the_issuer() {
    let signer = Signer::ed25519("k");
    let issuer = Issuer::start(&[&signer]).await;
    let mut config = issuer.config();
    config.cooldown = Duration::from_secs(3600);
    let app = App::start_with(|c| c.issuers = vec![config]).await;
    let claims = issuer.claims("anna", "subjects:read");
    list(&app, &signer.token(&claims)).await.expect(200);
    let before = issuer.fetches();
    let invented = (0..40).map(|n| {
        let mut header = signer.header();
        header["kid"] = json!(format!("invented-{n}"));
        answer(app.call_as(&signer.token_with(&header, &claims), Method::GET, "/v1/collections"))
    });
    for refused in futures::future::join_all(invented).await {
        refused.problem(401, "unauthenticated", "kid");
    }
    assert!(issuer.fetches() <= before + 1, "{} fetches for 40 tokens", issuer.fetches() - before);
    list(&app, &signer.token(&claims)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn known_keys_stay_while_the_issuer_is_away_and_unknown_ones_are_no_fault_of_the_caller() {
    let (signer, newer) = (Signer::ed25519("k"), Signer::ed25519("n"));
    let mut issuer = Issuer::start(&[&signer]).await;
    let app = app_of(&issuer).await;
    let claims = issuer.claims("anna", "subjects:read");
    list(&app, &signer.token(&claims)).await.expect(200);
    issuer.stop().await;
    let unknown = list(&app, &newer.token(&claims)).await;
    assert_eq!(unknown.problem(503, "issuer_unavailable", "identity provider").body["retryable"], true);
    list(&app, &signer.token(&claims)).await.expect(200);
    assert_eq!(app.get("/v1/collections").await.status, 200, "keys of the service's own are not concerned");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_another_or_publishes_nonsense_gives_no_keys() {
    let signer = Signer::ed25519("k");
    let issuer = Issuer::start(&[&signer]).await;
    let keys = format!("{}/keys", issuer.url);
    issuer.discovery(json!({"issuer": "https://elsewhere.example", "jwks_uri": keys}));
    let app = app_of(&issuer).await;
    let token = signer.token(&issuer.claims("anna", "subjects:read"));
    list(&app, &token).await.problem(503, "issuer_unavailable", "");
    issuer.discovery(json!({"issuer": issuer.url, "jwks_uri": keys.replace("https:", "http:")}));
    list(&app, &token).await.problem(503, "issuer_unavailable", "");
    assert_eq!(issuer.fetched.load(Ordering::SeqCst), 0, "neither address was believed");
    issuer.discovery(json!({"issuer": issuer.url, "jwks_uri": keys}));
    list(&app, &token).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_come_from_a_file_that_is_changed() {
    let (first, second) = (Signer::rsa("1"), Signer::rsa("2"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    std::fs::write(&file, key_set(&[&first]).to_string()).unwrap();
    let issuer = Issuer::start(&[]).await;
    let mut config = issuer.config();
    config.keys = KeySource::File(file.clone());
    let app = App::start_with(|c| c.issuers = vec![config]).await;
    let claims = issuer.claims("anna", "subjects:read");
    list(&app, &first.token(&claims)).await.expect(200);
    list(&app, &second.token(&claims)).await.problem(401, "unauthenticated", "kid");
    std::fs::write(&file, key_set(&[&first, &second]).to_string()).unwrap();
    list(&app, &second.token(&claims)).await.expect(200);
    assert_eq!(issuer.fetches(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_names_the_tenant_and_tenants_see_nothing_of_each_other() {
    let signer = Signer::ed25519("k");
    let issuer = Issuer::start(&[&signer]).await;
    let mut config = issuer.config();
    let allowed = vec!["acme".parse().unwrap(), "globex".parse().unwrap()];
    config.tenant = TenantRule::Claim { path: "org.id".into(), allowed };
    let app = App::start_with(|c| c.issuers = vec![config]).await;
    let token = |org: Value| {
        let mut claims = issuer.claims("anna", "subjects:read subjects:write");
        claims["org"] = json!({"id": org});
        signer.token(&claims)
    };
    let (acme, globex) = (token(json!("acme")), token(json!("globex")));
    let body = json!({"id": "staff", "purposes": ["access_control"]});
    answer(app.call_as(&acme, Method::POST, "/v1/collections").json(&body)).await.expect(201);
    assert_eq!(list(&app, &globex).await.expect(200)["items"], json!([]));
    answer(app.call_as(&globex, Method::GET, "/v1/collections/staff")).await.problem(404, "collection_not_found", "");
    assert_eq!(app.get("/v1/collections").await.expect(200)["items"], json!([]), "nor does the admin's tenant");
    for (org, why) in
        [(json!("default"), "may not speak for"), (json!("a/b"), "id of a tenant"), (json!(7), "names no")]
    {
        list(&app, &token(org)).await.problem(403, "forbidden", why);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_has_one_allowance_over_all_its_tokens() {
    let signer = Signer::ed25519("k");
    let issuer = Issuer::start(&[&signer]).await;
    let config = issuer.config();
    let app = App::start_with(|c| {
        c.issuers = vec![config];
        c.limits.key_rate = Some(Rate { per_second: 0.001, burst: 2 });
    })
    .await;
    let token = |subject: &str, n: u32| {
        let mut claims = issuer.claims(subject, "subjects:read");
        claims["jti"] = n.into();
        signer.token(&claims)
    };
    for n in 0..2 {
        list(&app, &token("anna", n)).await.expect(200);
    }
    list(&app, &token("anna", 2)).await.problem(429, "rate_limited", "");
    list(&app, &token("bert", 0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_identity_provider_a_token_is_no_credential() {
    let app = App::start().await;
    let token = Signer::ed25519("k").token(&testkit::claims("https://issuer.example", "visavis", "anna"));
    list(&app, &token).await.problem(401, "unauthenticated", "no key of the form vv_<id>_<secret>");
}
