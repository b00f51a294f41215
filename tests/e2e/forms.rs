//! What may be written in more than one way is taken in each of them: whole numbers, members that are left out, lists in
//! forms. What would mean two things is refused.

use reqwest::multipart::Form;
use serde_json::{Value, json};
use testkit::{Client, Person, encoded, part};

use crate::{caller, collection_with, decision};

async fn sent(client: &Client, path: &str, body: &'static str) -> testkit::Answer {
    client.send(client.request("POST", path).header("content-type", "application/json").body(body)).await
}

#[tokio::test]
async fn a_whole_number_may_be_written_with_a_point() {
    let client = caller();
    let body = r#"{"id": "pointed", "purposes": ["door"], "retention": {"idle_days": 30.0, "max_age_days": 4e2}}"#;
    let made = sent(&client, "/v1/collections", body).await.expect(201).json;
    assert_eq!(made["retention"], json!({"idle_days": 30, "max_age_days": 400}));
    let body = r#"{"id": "pointed-too", "purposes": ["door"], "retention": {"idle_days": 30.5}}"#;
    let refused = sent(&client, "/v1/collections", body).await.expect(400);
    assert_eq!(refused.problem_fields(), ["/retention/idle_days"]);
}

#[tokio::test]
async fn a_name_that_stands_twice_in_an_object_is_refused() {
    let client = caller();
    let body = r#"{"id": "twice", "purposes": ["door"], "retention": {"idle_days": 1, "idle_days": 2}}"#;
    assert_eq!(sent(&client, "/v1/collections", body).await.expect(400).problem_fields(), ["/retention/idle_days"]);
    let image = r#"{"image": {"b64": "AAAA"}, "max_faces": 1, "max_faces": 2}"#;
    assert_eq!(sent(&client, "/v1/detect", image).await.expect(400).problem_fields(), ["/max_faces"]);
}

#[tokio::test]
async fn null_is_as_good_as_leaving_out() {
    let client = collection_with("nulls", &[Person::Obama]).await;
    let photo = encoded(&Person::Obama.photo());
    let body = json!({"image": photo, "images": null, "threshold": null, "purpose": null, "face_selection": null});
    let answer = client.post("/v1/collections/nulls/subjects/obama/verify", &body).await.ok();
    assert_eq!(answer["decision"], "match", "{answer}");
    let body = json!({"source": photo, "targets": [photo], "threshold": null, "face_selection": null});
    drop(client.post("/v1/compare", &body).await.expect(200));
    let body = json!({"images": [photo], "consent": null, "face_selection": null});
    drop(client.post("/v1/collections/nulls/subjects/obama/faces", &body).await.expect(201));
    let key = client.post("/v1/api-keys", &json!({"name": "null", "scopes": ["detect"]})).await.expect(201).json;
    let path = format!("/v1/api-keys/{}/rotate", key["id"].as_str().expect("an id"));
    assert!(client.post(&path, &Value::Null).await.ok()["secret"].is_string());
    drop(client.post(&path, &json!([])).await.expect(400));
}

#[tokio::test]
async fn a_list_in_a_form_comes_whole_or_item_by_item() {
    let client = collection_with("lists", &[Person::Obama, Person::Biden]).await;
    let path = "/v1/collections/lists/identify";
    let photo = Person::Obama.photo();
    let among = async |parts: &[&str]| {
        let form = Form::new().part("image", part(&photo));
        let form = parts.iter().fold(form, |form, ids| form.text("subject_ids", (*ids).to_owned()));
        client.send(client.request("POST", path).multipart(form)).await
    };
    assert_eq!(decision(&among(&["obama", "biden"]).await.ok()), ("match", "obama"));
    assert_eq!(decision(&among(&[r#"["obama", "biden"]"#]).await.ok()), ("match", "obama"));
    assert_ne!(decision(&among(&["biden"]).await.ok()).0, "match", "among others alone");
    assert_eq!(among(&["biden", "no id"]).await.expect(400).problem_fields(), ["/subject_ids/1"]);
    let raw = client.request("POST", &format!("{path}?subject_ids=biden&subject_ids=obama"));
    let raw = raw.header("content-type", "image/jpeg").body(photo.clone());
    assert_eq!(decision(&client.send(raw).await.ok()), ("match", "obama"));
}

#[tokio::test]
async fn a_form_is_about_an_image_or_an_embedding_and_not_both() {
    let client = collection_with("either", &[Person::Obama]).await;
    let photo = Person::Obama.photo();
    let embedded = client.post("/v1/embeddings", &json!({"image": encoded(&photo)})).await.ok();
    let embedding = &embedded["items"][0]["faces"][0]["embedding"];
    let form = || Form::new().text("embedding", embedding.to_string());
    for (path, whole) in [("identify", "/image"), ("subjects/obama/verify", "/image")] {
        let path = format!("/v1/collections/either/{path}");
        let sent = async |form: Form| client.send(client.request("POST", &path).multipart(form)).await;
        let answer = sent(form()).await.ok();
        assert!(answer.to_string().contains(r#""match""#), "{answer}");
        let both = sent(form().part("image", part(&photo))).await.expect(400);
        assert_eq!(both.problem_fields(), [whole], "{}", both.text());
    }
}

#[tokio::test]
async fn a_deadline_beyond_all_bounds_is_the_longest_there_is() {
    let client = caller();
    let request = |ms: &str| {
        client
            .request("POST", "/v1/detect")
            .header("x-deadline-ms", ms)
            .json(&json!({"image": encoded(&Person::Obama.photo())}))
    };
    drop(client.send(request("102867908491494195200")).await.expect(200));
    drop(client.send(request("-1")).await.expect(400));
}
