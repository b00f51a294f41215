//! Consent: recorded before or with an enrolment, listed, withdrawn, and what a withdrawal stops.

use std::time::{Duration, Instant};

use domain::Timestamp;
use serde_json::{Value, json};
use testkit::{Person, TestApp, encoded, enrolment};

use crate::{collection_with, decision};

#[tokio::test]
async fn a_recorded_consent_allows_enrolment_and_its_withdrawal_stops_matching() {
    let client = collection_with("consents", &[]).await;
    let draft = json!({
        "collection_id": "consents", "subject_id": "astronaut", "purposes": ["access_control"],
        "method": "signed_form", "notice": {"version": "2026-11", "lang": "en"},
    });
    let recorded = client.post("/v1/consents", &draft).await.expect(201).json;
    assert_eq!((&recorded["training_allowed"], &recorded["status"]), (&json!(false), &json!("active")), "{recorded}");
    let id = recorded["id"].as_str().expect("an id").to_owned();

    let body = json!({"id": "astronaut", "images": [encoded(&Person::Astronaut.photo())]});
    let enrolled = client.post("/v1/collections/consents/subjects", &body).await.expect(201).json;
    assert_eq!(enrolled["consent_id"], id.as_str());
    let probe = &Person::Astronaut.others()[0];
    assert_eq!(decision(&client.identify("consents", probe).await.ok()), ("match", "astronaut"));

    let listed = client.get("/v1/consents?collection_id=consents&subject_id=astronaut").await.ok();
    let items = listed["items"].as_array().expect("items");
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["notice"]["version"], "2026-11");

    let withdrawn = client.post(&format!("/v1/consents/{id}/withdraw"), &json!({})).await.ok();
    assert_eq!(withdrawn["status"], "withdrawn", "{withdrawn}");
    let after = client.identify("consents", probe).await.ok();
    assert_eq!(decision(&after), ("no_match", ""), "not even as a candidate: {after}");
    let listed = client.get("/v1/consents?collection_id=consents&subject_id=astronaut").await.ok();
    assert_eq!(listed["items"][0]["status"], "withdrawn", "the record of the consent itself stays: {listed}");
    let verify = client.verify("consents", "astronaut", probe).await;
    assert!(verify.expect(403).problem("consent_required").contains("access_control"));
}

#[tokio::test]
async fn a_consent_without_purpose_or_method_is_refused() {
    let client = collection_with("consent-form", &[]).await;
    let draft = json!({"collection_id": "consent-form", "subject_id": "a", "purposes": [], "method": "web_form"});
    let answer = client.post("/v1/consents", &draft).await.expect(400);
    assert_eq!(answer.problem_fields(), ["/purposes"], "{}", answer.text());
    let draft = json!({"collection_id": "consent-form", "subject_id": "a", "purposes": ["access_control"]});
    let answer = client.post("/v1/consents", &draft).await.expect(400);
    assert_eq!(answer.problem_fields(), ["/method"], "{}", answer.text());
}

/// A moment from now.
fn within(d: Duration) -> Value {
    json!(Timestamp::now().plus(d))
}

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test]
async fn nobody_is_matched_past_the_end_of_the_consent_and_then_erased() {
    let client = collection_with("expiry", &[Person::Obama]).await;
    let mut body = enrolment("astronaut", &[Person::Astronaut.photo()]);
    let began = Instant::now();
    let end = Duration::from_secs(4);
    body["consent"]["expires_at"] = within(end);
    drop(client.post("/v1/collections/expiry/subjects", &body).await.expect(201));
    let probe = &Person::Astronaut.others()[0];
    let before = client.identify("expiry", probe).await.ok();
    assert!(began.elapsed() < end, "the machine is too slow for this test");
    assert_eq!(decision(&before), ("match", "astronaut"));
    assert_eq!(before["threshold"]["gallery_size"], 2);
    drop(client.verify("expiry", "astronaut", probe).await.ok());

    tokio::time::sleep(end.saturating_sub(began.elapsed()) + Duration::from_millis(20)).await;
    let after = client.identify("expiry", probe).await.ok();
    assert_eq!(decision(&after), ("no_match", ""), "not even as a candidate: {after}");
    assert_eq!(after["threshold"]["gallery_size"], 1, "whoever is not searched is no chance of a false match");
    let verify = client.verify("expiry", "astronaut", probe).await.expect(403);
    assert!(verify.problem("consent_required").contains("astronaut"));

    // A new consent brings it back, the end of that one takes it away for good.
    let again = json!({"collection_id": "expiry", "subject_id": "astronaut", "purposes": ["access_control"],
        "method": "web_form", "expires_at": within(Duration::from_millis(2_500))});
    drop(client.post("/v1/consents", &again).await.expect(201));
    assert_eq!(decision(&client.identify("expiry", probe).await.ok()).0, "match");
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    let sweep = "/v1/collections/expiry/retention/sweep";
    let told = client.post(sweep, &json!({})).await.ok();
    assert_eq!(told["subjects"], json!([{"subject_id": "astronaut", "reasons": ["consent_expired"]}]), "{told}");
    let swept = client.post(sweep, &json!({"dry_run": false})).await.ok();
    assert_eq!((&swept["erased"], &swept["looked_at"]), (&json!(1), &json!(2)));
    drop(client.get("/v1/collections/expiry/subjects/astronaut").await.expect(410));
    assert_eq!(decision(&client.identify("expiry", &Person::Obama.others()[0]).await.ok()), ("match", "obama"));
}

#[tokio::test]
async fn each_is_matched_only_for_what_each_agreed_to() {
    let client = collection_with("granular-other", &[]).await;
    let new = json!({"id": "granular", "purposes": ["access_control", "attendance"]});
    drop(client.post("/v1/collections", &new).await.expect(201));
    let enrol = async |person: Person, purposes: &[&str]| {
        let mut body = enrolment(person.id(), &[person.photo()]);
        body["consent"]["purposes"] = json!(purposes);
        client.post("/v1/collections/granular/subjects", &body).await.expect(201).json["consent_id"].clone()
    };
    enrol(Person::Obama, &["access_control"]).await;
    let both = enrol(Person::Biden, &["access_control", "attendance"]).await;
    let decided = async |person: Person, purpose: &str| {
        let body = json!({"image": encoded(&person.others()[0]), "purpose": purpose});
        let answer = client.post("/v1/collections/granular/identify", &body).await.ok();
        let path = format!("/v1/collections/granular/subjects/{}/verify", person.id());
        (decision(&answer).0.to_owned(), client.post(&path, &body).await.status)
    };
    let yes = ("match".to_owned(), 200);
    let no = ("no_match".to_owned(), 403);
    assert_eq!(decided(Person::Obama, "access_control").await, yes);
    assert_eq!(decided(Person::Obama, "attendance").await, no);
    assert_eq!(decided(Person::Biden, "attendance").await, yes);

    // One of several consents is withdrawn: what the other one covers goes on.
    let one =
        json!({"collection_id": "granular", "subject_id": "biden", "purposes": ["access_control"], "method": "letter"});
    drop(client.post("/v1/consents", &one).await.expect(201));
    let path = format!("/v1/consents/{}/withdraw", both.as_str().expect("an id"));
    assert_eq!(client.post(&path, &json!({})).await.ok()["faces_erased"], 0);
    assert_eq!(decided(Person::Biden, "attendance").await, no);
    assert_eq!(decided(Person::Biden, "access_control").await, yes);
}

// Waiting for the service's end must not keep the client's connections from being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_matched_is_not_idle() {
    let mut app = TestApp::start();
    let client = app.client();
    let new = json!({"id": "c", "purposes": ["access_control"], "retention": {"idle_days": 10}});
    drop(client.post("/v1/collections", &new).await.expect(201));
    for person in [Person::Astronaut, Person::Biden] {
        drop(client.enrol("c", person.id(), &[person.photo()]).await.expect(201));
    }
    let probe = Person::Astronaut.others()[0].clone();
    assert_eq!(decision(&client.identify("c", &probe).await.ok()), ("match", "astronaut"));
    // What was gathered is written when the service stops.
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    app.restart();
    let client = app.client();
    let at = async |days: Duration| {
        let told = client.post("/v1/collections/c/retention/sweep", &json!({"at": within(days)})).await.ok();
        told["subjects"].as_array().expect("subjects").iter().map(|s| s["subject_id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(at(9 * DAY).await, [""; 0]);
    assert_eq!(at(10 * DAY + DAY / 2).await, ["biden"], "matches are noted by the day");
    assert_eq!(at(11 * DAY + DAY / 2).await.len(), 2);
}
