//! Consents as they are recorded, and the sweep of what is kept too long: form, dry run, erasure, rounds, numbers.

use std::{sync::atomic::Ordering, time::Duration};

use domain::Timestamp;
use gateway::RetentionConfig;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    app::{Answer, App, answer, image},
    presence::manner,
};

const SWEEP: &str = "/v1/collections/staff/retention/sweep";

fn days(n: u64) -> Value {
    json!(Timestamp::now().plus(Duration::from_secs(n * 24 * 3600)))
}

/// Without rounds of its own.
async fn app() -> App {
    App::start_with(|c| c.retention.sweep_every = None).await
}

async fn enrol(app: &App, id: &str, consent: Value) -> Answer {
    let mut whole = json!({"purposes": ["access_control"], "method": "web_form"});
    whole.as_object_mut().unwrap().extend(consent.as_object().unwrap().clone());
    app.post("/v1/collections/staff/subjects", json!({"id": id, "consent": whole, "image": image("face")})).await
}

fn pointers(answer: &Answer) -> Vec<&str> {
    answer.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_consent_is_told_with_its_place() {
    let app = app().await;
    app.collection("staff").await;
    let faulty = json!({"method": "", "minor": true, "notice": {"version": "1", "sha256": "12"}, "obtained_at": days(2), "expires_at": days(1)});
    let refused = enrol(&app, "anna", faulty.clone()).await;
    refused.problem(400, "invalid_request", "SHA-256");
    assert_eq!(
        pointers(&refused),
        [
            "/consent/method",
            "/consent/notice/sha256",
            "/consent/guardian",
            "/consent/obtained_at",
            "/consent/expires_at"
        ]
    );
    let mut record = json!({"collection_id": "staff", "subject_id": "anna", "purposes": ["access_control"]});
    record.as_object_mut().unwrap().extend(faulty.as_object().unwrap().clone());
    let refused = app.post("/v1/consents", record).await;
    assert_eq!(
        pointers(&refused),
        ["/method", "/notice/sha256", "/guardian", "/obtained_at", "/expires_at"],
        "{:?}",
        refused.body
    );
    let guardian = json!({"minor": true, "guardian": {"reference": "g-1", "relation": "parent"}, "kind": "explicit"});
    let id = enrol(&app, "anna", guardian).await.expect(201)["consent_id"].clone();
    let recorded = app.get(&format!("/v1/consents/{}", id.as_str().unwrap())).await.expect(200);
    assert_eq!((&recorded["minor"], &recorded["guardian"]["relation"]), (&json!(true), &json!("parent")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_says_what_it_wants_of_consents() {
    let app = app().await;
    let policy = json!({"notice_required": true, "max_validity_days": 30});
    let new = json!({"id": "staff", "purposes": ["access_control", "payroll"], "consent": policy});
    assert_eq!(app.post("/v1/collections", new).await.expect(201)["consent"], policy);
    let bad =
        answer(app.call(Method::PATCH, "/v1/collections/staff").json(&json!({"consent": {"max_validity_days": 0}})));
    assert_eq!(bad.await.problem(400, "invalid_request", "").pointer(), "/consent/max_validity_days");
    assert_eq!(pointers(&enrol(&app, "anna", json!({})).await), ["/consent/notice", "/consent/expires_at"]);
    let notice = json!({"version": "1", "sha256": "ab".repeat(32)});
    let long = enrol(&app, "anna", json!({"notice": notice, "expires_at": days(31)})).await;
    assert_eq!(pointers(&long), ["/consent/expires_at"]);
    // One purpose of two suffices to be enrolled, none does not.
    enrol(&app, "anna", json!({"notice": notice, "expires_at": days(29)})).await.expect(201);
    let other = json!({"purposes": ["marketing"], "notice": notice, "expires_at": days(29)});
    enrol(&app, "bert", other).await.problem(403, "consent_required", "payroll");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_and_a_sweep_erases_after_every_worker_confirmed() {
    let app = app().await;
    let new =
        json!({"id": "staff", "purposes": ["access_control"], "retention": {"max_age_days": 30, "idle_days": 20}});
    app.post("/v1/collections", new).await.expect(201);
    enrol(&app, "short", json!({"expires_at": json!(Timestamp::now().plus(Duration::from_millis(1_500)))}))
        .await
        .expect(201);
    enrol(&app, "long", json!({})).await.expect(201);
    let none = app.post(SWEEP, json!({})).await.expect(200);
    assert_eq!((&none["dry_run"], &none["due"], &none["looked_at"]), (&json!(true), &json!(0), &json!(2)));
    let preview = app.post(SWEEP, json!({"at": days(25)})).await.expect(200);
    assert_eq!(preview["reasons"], json!({"max_age": 0, "idle": 2, "consent_expired": 1}));
    let preview = app.post(SWEEP, json!({"dry_run": true, "at": days(31)})).await.expect(200);
    assert_eq!((&preview["due"], &preview["erased"], &preview["complete"]), (&json!(2), &json!(0), &json!(true)));
    let short = preview["subjects"].as_array().unwrap().iter().find(|s| s["subject_id"] == "short").unwrap();
    assert_eq!(short["reasons"], json!(["max_age", "idle", "consent_expired"]));

    let refused = app.post(SWEEP, json!({"dry_run": false, "at": days(31)})).await;
    assert_eq!(refused.problem(400, "invalid_request", "dry run").pointer(), "/at");
    app.post(SWEEP, json!({"dryrun": false})).await.problem(400, "invalid_request", "unknown");
    app.post("/v1/collections/none/retention/sweep", json!({})).await.problem(404, "collection_not_found", "none");
    let reader = app.key_with(&["subjects:read", "subjects:write", "consents"]).await;
    answer(app.call_as(&reader, Method::POST, SWEEP).json(&json!({}))).await.problem(403, "forbidden", "erase");

    tokio::time::sleep(Duration::from_millis(1_600)).await;
    app.presence.manner.store(manner::SILENT, Ordering::SeqCst);
    let sweep = || app.call(Method::POST, SWEEP).json(&json!({"dry_run": false}));
    answer(sweep().header("x-deadline-ms", "300")).await.problem(504, "deadline_exceeded", "erased from the store");
    app.presence.manner.store(manner::AS_ASKED, Ordering::SeqCst);
    app.get("/v1/collections/staff/subjects/short").await.problem(410, "erased", "short");
    app.get("/v1/collections/staff/subjects/long").await.expect(200);
    let asked = app.presence.asked.lock().len();
    enrol(&app, "short", json!({"expires_at": json!(Timestamp::now().plus(Duration::from_millis(300)))}))
        .await
        .expect(201);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let swept = answer(sweep()).await.expect(200);
    assert_eq!((&swept["erased"], &swept["subjects"][0]["subject_id"]), (&json!(1), &json!("short")), "{swept}");
    assert!(app.presence.asked.lock().len() > asked, "the worker was asked");
    assert_eq!(app.post(SWEEP, json!({})).await.expect(200)["looked_at"], 1);
    // The audit trail names whom the service erased, each time.
    let trail = app.get("/v1/audit-events?limit=100").await.expect(200);
    let erased = trail["items"].as_array().unwrap().iter().filter(|e| e["action"] == "retention.erase");
    let named: Vec<_> = erased.map(|e| (e["actor"].clone(), e["subjects"].as_array().unwrap().len())).collect();
    assert_eq!(named, [(json!("service"), 1), (json!("service"), 1)], "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_of_people_who_never_came_go_when_they_end() {
    let app = app().await;
    app.collection("staff").await;
    let record = |who: &str, end: Value| json!({"collection_id": "staff", "subject_id": who, "purposes": ["access_control"], "method": "form", "expires_at": end});
    let end = json!(Timestamp::now().plus(Duration::from_millis(1_500)));
    let ended = app.post("/v1/consents", record("never", end)).await.expect(201)["id"].as_str().unwrap().to_owned();
    let open = app.post("/v1/consents", record("later", days(9))).await.expect(201)["id"].as_str().unwrap().to_owned();
    let told = app.post(SWEEP, json!({})).await.expect(200);
    assert_eq!((&told["consents"], &told["looked_at"], &told["complete"]), (&json!(0), &json!(0), &json!(true)));
    assert_eq!(app.post(SWEEP, json!({"at": days(1)})).await.expect(200)["consents"], 1);
    assert_eq!(app.post(SWEEP, json!({"at": days(10)})).await.expect(200)["consents"], 2);
    app.get(&format!("/v1/consents/{ended}")).await.expect(200);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert_eq!(app.post(SWEEP, json!({"dry_run": false})).await.expect(200)["consents"], 1);
    app.get(&format!("/v1/consents/{ended}")).await.problem(404, "consent_not_found", "");
    app.get(&format!("/v1/consents/{open}")).await.expect(200);
    let trail = app.get("/v1/audit-events?limit=100").await.expect(200);
    let erased = trail["items"].as_array().unwrap().iter().filter(|e| e["action"] == "retention.erase");
    assert_eq!(erased.map(|e| e["subjects"].as_array().unwrap().len()).collect::<Vec<_>>(), [1], "{trail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_erase_by_themselves_and_count_who_is_left() {
    let every = Some(Duration::from_millis(200));
    let app = App::start_with(|c| c.retention = RetentionConfig { sweep_every: every, enrolled_warning: 2 }).await;
    app.collection("staff").await;
    app.collection("guests").await;
    enrol(&app, "short", json!({"expires_at": json!(Timestamp::now().plus(Duration::from_millis(500)))}))
        .await
        .expect(201);
    enrol(&app, "long", json!({})).await.expect(201);
    app.subject("guests", "carl").await;
    let gone = async {
        while app.get("/v1/collections/staff/subjects/short").await.status != 410 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(25), gone).await.unwrap();
    let counted = async {
        loop {
            let stats = app.get("/v1/collections/staff/stats").await.expect(200);
            if stats["tenant"]["subjects"] == 2 {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let stats = tokio::time::timeout(Duration::from_secs(25), counted).await.unwrap();
    assert_eq!((&stats["subjects"], &stats["tenant"]["warning_level"]), (&json!(1), &json!(2)));
    assert_eq!(stats["tenant"]["warning"], true, "as many as configured: {stats}");
    let metrics = prometheus::TextEncoder::new().encode_to_string(&app.registry.gather()).unwrap();
    for line in [
        r#"visavis_enrolled_subjects{collection="guests",tenant="default"} 1"#,
        r#"visavis_enrolled_subjects{collection="staff",tenant="default"} 1"#,
        r#"visavis_retention_erased_total{reason="consent_expired"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
}
