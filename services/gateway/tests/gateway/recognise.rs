//! Identification, verification, purposes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, answer, contract, image};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_an_answer_and_it_says_which_threshold_held() {
    let app = App::start().await;
    app.collection("staff").await;
    let got = app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.expect(200);
    assert_eq!(got["results"][0]["decision"], "no_match");
    assert_eq!(got["results"][0]["candidates"], json!([]));
    assert_eq!((&got["exact"], &got["revision"], &got["model_version"]), (&json!(true), &json!(1), &json!("fake-1")));
    assert_eq!(got["threshold"]["target"], json!({"target_fpir": 0.003}));
    assert!(got["threshold"]["score"].is_number() && got["threshold"]["extrapolated"].is_boolean());
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_reach_the_worker_from_json_and_from_the_query() {
    let app = App::start().await;
    app.collection("staff").await;
    let body = json!({"image": image("face"), "limit": 7, "max_faces": 3, "threshold": {"target_fpir": 0.01},
        "filter": {"site": "north"}, "subject_ids": ["anna"], "purpose": "access_control"});
    app.post("/v1/collections/staff/identify", body).await.expect(200);
    let from_json = app.worker.as_ref().unwrap().last().request;
    let query = "limit=7&max_faces=3&threshold=%7B%22target_fpir%22%3A0.01%7D&filter=%7B%22site%22%3A%22north%22%7D\
                 &subject_ids=%5B%22anna%22%5D&purpose=access_control";
    let raw = app.call(Method::POST, &format!("/v1/collections/staff/identify?{query}"));
    answer(raw.header("content-type", "image/png").body("face")).await.expect(200);
    assert_eq!(app.worker.as_ref().unwrap().last().request, from_json);
    app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.expect(200);
    let wire::v1::envelope::Request::Identify(r) = app.worker.as_ref().unwrap().last().request.unwrap() else {
        panic!()
    };
    assert_eq!((r.limit, r.max_faces, r.purpose.as_str()), (5, 1, "access_control"), "the documented defaults");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_face_in_the_only_image_is_422_and_among_several_an_item() {
    let app = App::start().await;
    app.collection("staff").await;
    app.post("/v1/collections/staff/identify", json!({"image": image("no_face")})).await.problem(422, "no_face", "");
    let two = json!({"images": [image("face"), image("no_face")]});
    let got = app.post("/v1/collections/staff/identify", two).await.expect(200);
    assert_eq!(got["results"][1]["problem"]["code"], "no_face");
    assert_eq!(got["results"][1]["decision"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_can_be_searched_and_bad_ones_are_named() {
    let app = App::start().await;
    app.collection("staff").await;
    let path = "/v1/collections/staff/identify";
    let good = json!({"contract": contract().to_string(), "values": [0.6, 0.8]});
    let got = app.post(path, json!({"embeddings": [good, good]})).await.expect(200);
    assert_eq!(got["results"].as_array().unwrap().len(), 2);
    let pointer =
        async |body: Value| app.post(path, body).await.problem(400, "invalid_request", "").pointer().to_owned();
    assert_eq!(pointer(json!({"embedding": {"contract": "zz", "values": [1.0]}})).await, "/embedding/contract");
    assert_eq!(
        pointer(json!({"embedding": {"contract": contract().to_string(), "values": []}})).await,
        "/embedding/values"
    );
    assert_eq!(pointer(json!({"embedding": good, "image": image("face")})).await, "/image");
    assert_eq!(pointer(json!({})).await, "/image");
    assert_eq!(pointer(json!({"image": image("face"), "limit": 101})).await, "/limit");
    assert_eq!(pointer(json!({"image": image("face"), "max_faces": 65})).await, "/max_faces");
    assert_eq!(
        pointer(json!({"image": image("face"), "threshold": {"target_fpir": 0}})).await,
        "/threshold/target_fpir"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn purposes_are_the_collections_own() {
    let app = App::start().await;
    app.collection("staff").await;
    app.post("/v1/collections", json!({"id": "two", "purposes": ["a", "b"]})).await.expect(201);
    let ask = async |c: &str, purpose: Option<&str>| {
        let body = json!({"image": image("face"), "purpose": purpose});
        app.post(&format!("/v1/collections/{c}/identify"), body).await
    };
    assert_eq!(ask("staff", None).await.status, 200);
    ask("staff", Some("marketing")).await.problem(403, "purpose_not_allowed", "access_control");
    ask("two", None).await.problem(400, "invalid_request", "a, b");
    assert_eq!(ask("two", Some("b")).await.status, 200);
    ask("none", None).await.problem(404, "collection_not_found", "none");
    ask("two", Some("Not a purpose")).await.problem(400, "invalid_request", "lower-case");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_needs_the_subject_and_one_probe() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "anna").await;
    let path = "/v1/collections/staff/subjects/anna/verify";
    let got = app.post(path, json!({"image": image("face")})).await.expect(200);
    assert_eq!(
        (&got["decision"], &got["face_id"], &got["face"]["detection_score"]),
        (&json!("match"), &json!("f1"), &json!(0.9))
    );
    app.post(path, json!({"image": image("two_faces")})).await.problem(422, "multiple_faces", "");
    app.post(path, json!({"images": [image("face"), image("face")]})).await.problem(
        400,
        "invalid_request",
        "exactly one",
    );
    let other = "/v1/collections/staff/subjects/nobody/verify";
    app.post(other, json!({"image": image("face")})).await.problem(404, "subject_not_found", "nobody");
    assert_eq!(app.delete("/v1/collections/staff/subjects/anna").await.status, 204);
    app.post(path, json!({"image": image("face")})).await.problem(410, "erased", "anna");
}
