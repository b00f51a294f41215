//! Consent: recorded before or with an enrolment, listed, withdrawn, and what a withdrawal stops.

use serde_json::json;
use testkit::{Person, encoded};

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
    assert!(matches!(verify.status, 403 | 404 | 410), "{}", verify.text());
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
