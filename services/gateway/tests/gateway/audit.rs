//! What is on record after a request was answered, and what is not; the trail's pages and its two writers.

use std::{sync::atomic::Ordering, time::Duration};

use domain::{TenantId, Timestamp};
use evidence::{AuditDraft, Expected, Jwks, verify_trail};
use reqwest::Method;
use serde_json::{Value, json};
use store::{Audit, Space};

use crate::app::{App, answer, image};

async fn events(app: &App, query: &str) -> Vec<Value> {
    let page = app.get(&format!("/v1/audit-events?limit=100{query}")).await.expect(200);
    page["items"].as_array().unwrap().clone()
}

/// Every event, in pages of at most so many.
async fn walked(app: &App, limit: usize) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("/v1/audit-events?limit={limit}{cursor}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_decisions_are_on_record_when_they_are_answered() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let body = json!({"image": image("face")});
    app.post("/v1/collections/staff/identify", body.clone()).await.expect(200);
    app.post("/v1/collections/staff/subjects/anna/verify", body.clone()).await.expect(200);
    let weak = app.key_with(&["detect"]).await;
    answer(app.call_as(&weak, Method::DELETE, "/v1/collections/staff")).await.problem(403, "forbidden", "erase");
    app.post("/v1/collections/staff/subjects/none/verify", body.clone()).await.problem(404, "subject_not_found", "");
    // Neither changes anything nor knows anybody.
    app.post("/v1/detect", body).await.expect(200);
    app.get("/v1/collections/staff/subjects/anna").await.expect(200);

    let all = events(&app, "").await;
    let told: Vec<_> = all.iter().map(|e| (e["action"].as_str().unwrap(), e["outcome"].as_str().unwrap())).collect();
    let verify = "POST /v1/collections/{collection}/subjects/{subject}/verify";
    assert_eq!(
        told,
        [
            ("POST /v1/collections", "ok"),
            ("POST /v1/collections/{collection}/subjects", "ok"),
            ("POST /v1/collections/{collection}/identify", "ok"),
            (verify, "ok"),
            ("POST /v1/api-keys", "ok"),
            ("DELETE /v1/collections/{collection}", "forbidden"),
            (verify, "subject_not_found"),
        ]
    );
    let seqs: Vec<_> = all.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=7).collect::<Vec<_>>());
    let handle = &all[1]["subjects"][0];
    assert_eq!(handle.as_str().unwrap().len(), 32);
    assert_eq!((&all[2]["decisions"], &all[3]["subjects"][0]), (&json!(["no_match"]), handle));
    assert!(all.iter().all(|e| !e.to_string().contains("anna")), "{all:?}");
    let who = all[5]["actor"].as_str().unwrap();
    assert!(who.starts_with("key:") && *who != *all[0]["actor"].as_str().unwrap());

    assert_eq!(events(&app, "&collection_id=staff&subject_id=anna").await.len(), 2);
    assert_eq!(events(&app, "&outcome=forbidden").await.len(), 1);
    assert_eq!(events(&app, &format!("&actor={who}")).await.len(), 1);
    assert_eq!(events(&app, "&until=2001-01-01T00:00:00Z").await.len(), 0);
    app.get("/v1/audit-events?subject_id=anna").await.problem(400, "invalid_request", "collection_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_write_one_trail_and_pages_lead_through_it() {
    let app = App::start().await;
    let other = app.second().await;
    let make =
        |app: &App, id: String| app.call(Method::POST, "/v1/collections").json(&json!({"id": id, "purposes": ["x"]}));
    let requests = (0..40).map(|i| answer(make(if i % 2 == 0 { &app } else { &other }, format!("c{i}"))));
    let made = futures::future::join_all(requests).await;
    assert!(made.iter().all(|a| a.status == 201));
    let seen = walked(&app, 7).await;
    let seen: Vec<_> = seen.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
    assert_eq!(app.get("/v1/audit-events/head").await.expect(200)["seq"], 40);
    app.get("/v1/audit-events?cursor=djE6eA").await.problem(400, "invalid_cursor", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_down_is_not_answered() {
    let app = App::start().await;
    app.collection("staff").await;
    app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.expect(200);
    app.store_away.store(true, Ordering::SeqCst);
    app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.problem(
        503,
        "store_unavailable",
        "",
    );
    app.store_away.store(false, Ordering::SeqCst);
    app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.expect(200);
    assert_eq!(events(&app, "&outcome=ok").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_are_packed_and_shown_as_before() {
    let app = App::start_with(|config| config.audit_packed_after = Duration::ZERO).await;
    let tenant = TenantId::new("default").unwrap();
    let long_ago = AuditDraft {
        time: Timestamp::from_millis(1_700_000_000_000),
        actor: "key:k".into(),
        action: "POST /v1/collections".into(),
        collection: None,
        subjects: vec![],
        more_subjects: 0,
        decisions: vec![],
        outcome: "ok".into(),
        status: Some(201),
        reference: None,
        request_id: None,
    };
    Audit::new(app.store.clone(), &tenant).append(&vec![long_ago; 508], &mut None).await.unwrap();
    let before = walked(&app, 90).await;
    assert_eq!(before.len(), 508);
    // The 512th event tells that a page is full.
    for i in 0..6 {
        app.collection(&format!("c{i}")).await;
    }
    let pages = async {
        while app.store.keys(&Space::audit(&tenant), "page/", None, 10).await.unwrap().keys.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pages).await.expect("no page was made");
    let after = walked(&app, 90).await;
    assert_eq!(after[..508], before);
    assert_eq!(after.len(), 514);
    let text = app.call(Method::GET, "/v1/audit-events/export").send().await.unwrap().text().await.unwrap();
    let keys: Jwks = serde_json::from_value(app.get("/.well-known/jwks.json").await.expect(200)).unwrap();
    let checked = verify_trail(text.lines(), Expected { keys: Some(&keys), head: None }).unwrap();
    assert_eq!((checked.events, checked.head.seq), (514, 514));
}
