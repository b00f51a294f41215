//! Collections, subjects, faces and consents: made, read, changed, deleted.

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::app::{App, answer, consent, image};

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_from_creation_to_deletion() {
    let app = App::start().await;
    let made = app.collection("staff").await;
    assert_eq!(made.header("location"), "/v1/collections/staff");
    assert_eq!(made.body["decision"]["target_fpir"], 0.003);
    app.post("/v1/collections", json!({"id": "staff", "purposes": ["a"]})).await.problem(409, "conflict", "exists");
    let unnamed = app.post("/v1/collections", json!({"purposes": ["a"]})).await.expect(201);
    assert_eq!(unnamed["id"].as_str().unwrap().len(), 36);

    let shown = app.get("/v1/collections/staff").await;
    let tag = shown.header("etag").to_owned();
    assert_eq!((tag.as_str(), &shown.body), (made.header("etag"), &made.body));
    let patch = |body: Value, tag: &str| {
        let request = app.call(Method::PATCH, "/v1/collections/staff").header("if-match", tag);
        answer(request.header("content-type", "application/merge-patch+json").body(body.to_string()))
    };
    let changed = patch(json!({"name": "Staff", "metadata": {"site": "north"}}), &tag).await;
    assert_ne!(changed.header("etag"), tag);
    assert_eq!((&changed.body["name"], &changed.body["purposes"]), (&json!("Staff"), &json!(["access_control"])));
    patch(json!({"name": null}), &tag).await.problem(412, "precondition_failed", "read");
    patch(json!({"name": null}), "\"nonsense\"").await.problem(412, "precondition_failed", "");
    let cleared = patch(json!({"name": null}), "*").await.expect(200);
    assert_eq!((&cleared["name"], &cleared["metadata"]), (&Value::Null, &json!({"site": "north"})));
    assert_eq!(patch(json!({"id": "x"}), "*").await.problem(400, "invalid_request", "unknown").pointer(), "/id");
    assert_eq!(patch(json!({"purposes": []}), "*").await.problem(400, "invalid_request", "").pointer(), "/purposes");

    app.subject("staff", "anna").await;
    let stats = app.get("/v1/collections/staff/stats").await.expect(200);
    assert_eq!((&stats["subjects"], &stats["faces"]), (&json!(1), &json!(1)));
    let conditional = app.call(Method::DELETE, "/v1/collections/staff").header("if-match", &tag);
    answer(conditional).await.problem(412, "precondition_failed", "");
    assert_eq!(app.delete("/v1/collections/staff").await.status, 204);
    app.get("/v1/collections/staff").await.problem(404, "collection_not_found", "staff");
    app.delete("/v1/collections/staff").await.problem(404, "collection_not_found", "");
    app.get("/v1/collections/staff/subjects/anna").await.problem(404, "collection_not_found", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_from_enrolment_to_deletion() {
    let app = App::start().await;
    app.collection("staff").await;
    let made = app.subject("staff", "anna").await;
    assert_eq!(made.header("location"), "/v1/collections/staff/subjects/anna");
    assert_eq!(made.body["faces"].as_array().unwrap().len(), 1);
    assert!(made.body["revision"].as_u64().unwrap() > 0 && made.body["consent_id"].is_string());
    let path = "/v1/collections/staff/subjects/anna";
    let again = json!({"id": "anna", "consent": consent(), "image": image("face")});
    app.post("/v1/collections/staff/subjects", again).await.problem(409, "conflict", "anna");

    let shown = app.get(path).await;
    let tag = shown.header("etag").to_owned();
    assert_eq!(shown.body["faces"][0]["id"], made.body["faces"][0]["id"]);
    let patch = |body: Value| answer(app.call(Method::PATCH, path).header("if-match", &tag).json(&body));
    let changed = patch(json!({"external_id": "e-7", "metadata": {"shift": "late"}})).await.expect(200);
    assert_eq!((&changed["external_id"], &changed["metadata"]), (&json!("e-7"), &json!({"shift": "late"})));
    patch(json!({"external_id": "e-8"})).await.problem(412, "precondition_failed", "");
    let too_long = json!({"metadata": {"a": "x".repeat(513)}});
    let refused = answer(app.call(Method::PATCH, path).json(&too_long)).await;
    assert_eq!(refused.problem(400, "invalid_request", "512").pointer(), "/metadata/a");
    let listed = app.get("/v1/collections/staff/subjects").await.expect(200);
    assert_eq!(listed["items"][0]["external_id"], "e-7");

    assert_eq!(app.delete(path).await.status, 204);
    app.get(path).await.problem(410, "erased", "anna");
    app.delete(path).await.problem(410, "erased", "");
    app.get("/v1/collections/staff/subjects/bert").await.problem(404, "subject_not_found", "bert");
    assert_eq!(app.get("/v1/collections/staff/subjects").await.expect(200)["items"], json!([]));
    app.subject("staff", "anna").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enrolment_by_form_tells_which_images_were_rejected() {
    let app = App::start().await;
    app.collection("staff").await;
    let file =
        |content: &'static str| Part::bytes(content.as_bytes()).file_name("a.jpg").mime_str("image/jpeg").unwrap();
    let form = |first: &'static str| {
        Form::new()
            .text("id", "0123")
            .text("external_id", "12")
            .text("metadata", r#"{"site":"north"}"#)
            .text("consent", consent().to_string())
            .part("images", file(first))
            .part("images", file("no_face"))
    };
    let path = "/v1/collections/staff/subjects";
    let none = answer(app.call(Method::POST, path).multipart(form("two_faces"))).await;
    none.problem(422, "multiple_faces", "");
    app.get("/v1/collections/staff/subjects/0123").await.problem(404, "subject_not_found", "");
    let made = answer(app.call(Method::POST, path).multipart(form("face"))).await.expect(201);
    assert_eq!(
        (&made["subject"]["id"], &made["subject"]["external_id"]),
        (&json!("0123"), &json!("12")),
        "text stays text"
    );
    assert_eq!(made["subject"]["metadata"], json!({"site": "north"}));
    let rejected = &made["rejected_images"][0];
    assert_eq!((&rejected["index"], &rejected["reason"]), (&json!(1), &json!("no_face")));
    assert!(rejected["detail"].as_str().unwrap().contains("no face"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_enrolled_without_a_consent_that_covers_the_purposes() {
    let app = App::start().await;
    app.collection("staff").await;
    let path = "/v1/collections/staff/subjects";
    let enrol =
        async |consent: Value| app.post(path, json!({"id": "anna", "consent": consent, "image": image("face")})).await;
    enrol(Value::Null).await.problem(403, "consent_required", "POST /v1/consents");
    let other = json!({"purposes": ["marketing"], "method": "web_form"});
    let refused = enrol(other).await;
    assert_eq!(refused.problem(403, "consent_required", "access_control").pointer(), "/consent/purposes");
    let no_method = enrol(json!({"purposes": ["access_control"], "method": " "})).await;
    assert_eq!(no_method.problem(400, "invalid_request", "").pointer(), "/consent/method");
    let typo = enrol(json!({"purposes": ["access_control"], "method": "m", "trainig_allowed": true})).await;
    assert_eq!(typo.problem(400, "invalid_request", "unknown field").pointer(), "/consent/trainig_allowed");
    assert_eq!(app.worker.as_ref().unwrap().seen.lock().len(), 0, "nothing was queued");

    let record = json!({"collection_id": "staff", "subject_id": "anna", "purposes": ["access_control"], "method": "m"});
    app.post("/v1/consents", record).await.expect(201);
    enrol(Value::Null).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_added_listed_shown_and_deleted() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let path = "/v1/collections/staff/subjects/anna/faces";
    let raw = app.call(Method::POST, path).header("content-type", "image/jpeg").body("face");
    let added = answer(raw).await;
    let location = added.header("location").to_owned();
    let added = added.expect(201);
    assert_eq!(location, format!("{path}/{}", added["faces"][0]["id"].as_str().unwrap()));
    let first = app.get(&format!("{path}?limit=1")).await.expect(200);
    let rest = app.get(&format!("{path}?cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (1, 1));
    assert_ne!(first["items"][0]["id"], rest["items"][0]["id"]);
    let shown = app.get(&location).await;
    assert_eq!(shown.body["subject_id"], "anna");
    let stale = app.call(Method::DELETE, &location).header("if-match", "\"1\"");
    answer(stale).await.problem(412, "precondition_failed", "");
    let fresh = app.call(Method::DELETE, &location).header("if-match", shown.header("etag"));
    assert_eq!(answer(fresh).await.status, 204);
    app.get(&location).await.problem(404, "face_not_found", "anna");
    app.delete(&location).await.problem(404, "face_not_found", "");
    app.post(path, json!({})).await.problem(400, "invalid_request", "image");
    app.post(path, json!({"image": image("no_face")})).await.problem(422, "no_face", "");
    let nobody = "/v1/collections/staff/subjects/nobody/faces";
    app.post(nobody, json!({"image": image("face")})).await.problem(404, "subject_not_found", "");
    app.get(nobody).await.problem(404, "subject_not_found", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_are_recorded_listed_and_withdrawn_with_effect() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let record = |collection: &str, subject: &str| json!({"collection_id": collection, "subject_id": subject, "purposes": ["access_control"], "method": "m"});
    app.post("/v1/consents", record("none", "x")).await.problem(404, "collection_not_found", "none");
    let bad = app.post("/v1/consents", record("staff", "../x")).await;
    assert_eq!(bad.problem(400, "invalid_request", "letters").pointer(), "/subject_id");
    let missing = app.post("/v1/consents", json!({"collection_id": "staff"})).await;
    assert_eq!(missing.problem(400, "invalid_request", "missing").pointer(), "/subject_id");
    let made = app.post("/v1/consents", record("staff", "bert")).await;
    let location = made.header("location").to_owned();
    assert_eq!(made.expect(201)["status"], "active");
    assert_eq!(app.get(&location).await.expect(200)["subject_id"], "bert");
    assert_eq!(app.get("/v1/consents").await.expect(200)["items"].as_array().unwrap().len(), 2);
    let annas = app.get("/v1/consents?collection_id=staff&subject_id=anna").await.expect(200);
    let annas = annas["items"].as_array().unwrap();
    assert_eq!(annas.len(), 1);
    app.get("/v1/consents?subject_id=anna").await.problem(400, "invalid_request", "together");

    let withdraw = format!("/v1/consents/{}/withdraw", annas[0]["id"].as_str().unwrap());
    let done = answer(app.call(Method::POST, &withdraw)).await.expect(200);
    assert_eq!((&done["status"], &done["faces_erased"]), (&json!("withdrawn"), &json!(1)));
    let left = app.get("/v1/collections/staff/subjects/anna").await.expect(200);
    assert_eq!(left["faces"], json!([]));
    let more = json!({"image": image("face")});
    app.post("/v1/collections/staff/subjects/anna/faces", more).await.problem(403, "consent_required", "anna");
    app.get("/v1/consents/none").await.problem(404, "consent_not_found", "none");
    answer(app.call(Method::POST, "/v1/consents/none/withdraw")).await.problem(404, "consent_not_found", "");
}
