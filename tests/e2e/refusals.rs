//! Every way to be refused, each with its status, its code and a sentence that helps.

use bytes::Bytes;
use reqwest::multipart::Form;
use serde_json::json;
use testkit::{Image, Person, Picture, encoded, enrolment, part, png_header_only, two_people};

use crate::{caller, collection_with};

#[tokio::test]
async fn enrolment_without_consent() {
    let client = collection_with("no-consent", &[]).await;
    let body = json!({"id": "anna", "images": [encoded(&Person::Obama.photo())]});
    let answer = client.post("/v1/collections/no-consent/subjects", &body).await.expect(403);
    let detail = answer.problem("consent_required");
    assert!(detail.contains("consent") && detail.contains("access_control"), "{detail}");
    drop(client.get("/v1/collections/no-consent/subjects/anna").await.expect(404));
}

#[tokio::test]
async fn consent_for_another_purpose_than_the_collections() {
    let client = collection_with("other-consent", &[]).await;
    let mut body = enrolment("anna", &[Person::Obama.photo()]);
    body["consent"]["purposes"] = json!(["marketing"]);
    let answer = client.post("/v1/collections/other-consent/subjects", &body).await.expect(403);
    assert!(answer.problem("consent_required").contains("access_control"), "{}", answer.text());
}

#[tokio::test]
async fn a_purpose_that_the_collection_lacks() {
    let client = collection_with("wrong-purpose", &[]).await;
    let body = json!({"image": encoded(&Person::Obama.photo()), "purpose": "marketing"});
    let answer = client.post("/v1/collections/wrong-purpose/identify", &body).await.expect(403);
    let detail = answer.problem("purpose_not_allowed");
    assert!(detail.contains("access_control"), "the allowed ones are named: {detail}");
}

#[tokio::test]
async fn an_unknown_collection() {
    let client = caller();
    let probe = json!({"image": encoded(&Person::Astronaut.photo()), "purpose": "access_control"});
    for answer in [
        client.get("/v1/collections/nowhere").await,
        client.get("/v1/collections/nowhere/subjects").await,
        client.delete("/v1/collections/nowhere").await,
        client.post("/v1/collections/nowhere/identify", &probe).await,
        client.enrol("nowhere", "anna", &[Person::Astronaut.photo()]).await,
    ] {
        assert!(answer.clone().expect(404).problem("collection_not_found").contains("collection"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_unknown_subject() {
    let client = collection_with("unknown-subject", &[]).await;
    let path = "/v1/collections/unknown-subject/subjects/nobody";
    for answer in [
        client.get(path).await,
        client.delete(path).await,
        client.get(&format!("{path}/faces")).await,
        client.verify("unknown-subject", "nobody", &Person::Astronaut.photo()).await,
    ] {
        assert!(answer.clone().expect(404).problem("subject_not_found").contains("nobody"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_unknown_face_consent_job_and_path() {
    let client = collection_with("unknown-face", &[Person::Astronaut]).await;
    let face = client.delete("/v1/collections/unknown-face/subjects/astronaut/faces/none").await.expect(404);
    assert!(!face.problem("face_not_found").is_empty());
    let consent = client.post("/v1/consents/none/withdraw", &json!({})).await.expect(404);
    assert!(!consent.problem("consent_not_found").is_empty());
    let job = client.get("/v1/jobs/none").await.expect(404);
    assert!(!job.problem("job_not_found").is_empty());
    let path = client.get("/v1/colections").await.expect(404);
    assert!(path.problem("not_found").contains("/docs"));
    let method = client.send(client.request("PUT", "/v1/collections")).await.expect(405);
    assert!(method.problem("method_not_allowed").contains("GET"), "{}", method.text());
    assert_eq!(method.header("allow"), "GET, HEAD, POST");
}

#[tokio::test]
async fn two_faces_where_one_is_needed() {
    let client = collection_with("two-faces", &[]).await;
    let answer = client.enrol("two-faces", "anna", &[two_people()]).await.expect(422);
    let detail = answer.problem("multiple_faces");
    assert!(detail.contains("2 faces") && detail.contains("crop"), "{detail}");
    drop(client.get("/v1/collections/two-faces/subjects/anna").await.expect(404));
}

#[tokio::test]
async fn no_face_where_one_is_needed() {
    let client = collection_with("no-face", &[]).await;
    let wall = Picture::filled(320, 240, [90, 120, 60]).png();
    let answer = client.enrol("no-face", "anna", std::slice::from_ref(&wall)).await.expect(422);
    assert!(answer.problem("no_face").contains("no face"), "{}", answer.text());
    let answer = client.identify("no-face", &wall).await.expect(422);
    assert!(!answer.problem("no_face").is_empty());
    let seen = client.detect(wall).await.ok();
    assert_eq!(seen["items"][0]["faces"], json!([]), "no face is an answer on detect");
}

#[tokio::test]
async fn too_many_bytes_in_one_image() {
    let mut image = Person::Astronaut.photo().to_vec();
    image.resize((10 << 20) + 1, 0);
    let answer = caller().detect(image.into()).await.expect(413);
    let detail = answer.problem("payload_too_large");
    assert!(detail.contains(&(10 << 20).to_string()), "the limit is named: {detail}");
}

#[tokio::test]
async fn too_many_bytes_in_one_request() {
    let client = caller();
    let body = Bytes::from(vec![b' '; (64 << 20) + 1]);
    let request = client.request("POST", "/v1/detect").header("content-type", "application/json").body(body);
    // The service may close the connection as soon as it knows the length, before the body has been sent.
    if let Ok(answer) = client.try_send(request).await {
        assert!(answer.clone().expect(413).problem("payload_too_large").contains("larger"), "{}", answer.text());
    }
    drop(client.get("/livez").await.expect(200));
}

#[tokio::test]
async fn too_many_pixels() {
    for (width, height) in [(30_000, 30_000), (40_000, 10), (8_000, 5_001)] {
        let answer = caller().detect(png_header_only(width, height)).await.expect(413);
        let detail = answer.problem("image_too_large");
        assert!(detail.contains(&width.to_string()) || detail.contains("pixel"), "{detail}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_image() {
    let text = Bytes::from_static(b"This is a shopping list: bread, milk, butter, apples.");
    for how in [Image::Raw, Image::Form, Image::Json] {
        let answer = caller().post_image("/v1/detect", text.clone(), how).await.expect(415);
        let detail = answer.problem("unsupported_media_type");
        assert!(detail.contains("JPEG") && detail.contains("PNG") && detail.contains("WebP"), "{detail}");
    }
}

#[tokio::test]
async fn a_damaged_image() {
    let whole = Person::Biden.photo();
    let answer = caller().detect(whole.slice(..whole.len() / 2)).await.expect(422);
    assert!(!answer.problem("image_undecodable").is_empty());
}

#[tokio::test]
async fn an_empty_image_and_no_image() {
    let client = caller();
    let answer = client.detect(Bytes::new()).await.expect(400);
    assert!(answer.problem("invalid_request").contains("empty"), "{}", answer.text());
    let answer = client.post("/v1/detect", &json!({})).await.expect(400);
    assert!(answer.problem("invalid_request").contains("image"), "{}", answer.text());
    let form =
        client.request("POST", "/v1/detect").multipart(Form::new().part("picture", part(&Person::Biden.photo())));
    let answer = client.send(form).await.expect(400);
    assert!(answer.problem("invalid_request").contains("picture"), "the unknown part is named: {}", answer.text());
}

#[tokio::test]
async fn garbage_json() {
    let client = caller();
    for garbage in ["", "{", "nonsense", "{\"id\": }", "\u{0}\u{1}", "[1,2]"] {
        let request = client.request("POST", "/v1/collections").header("content-type", "application/json");
        let answer = client.send(request.body(garbage)).await.expect(400);
        assert!(!answer.problem("invalid_request").is_empty(), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_missing_field_and_one_too_many() {
    let client = caller();
    let answer = client.post("/v1/collections", &json!({"id": "no-purposes"})).await.expect(400);
    assert!(answer.problem("invalid_request").contains("purposes"), "{}", answer.text());
    assert_eq!(answer.problem_fields(), ["/purposes"]);
    let body = json!({"id": "typo", "purposes": ["a"], "retntion": {}});
    let answer = client.post("/v1/collections", &body).await.expect(400);
    assert_eq!(answer.problem_fields(), ["/retntion"], "{}", answer.text());
    let body = json!({"id": "none", "purposes": []});
    assert!(client.post("/v1/collections", &body).await.expect(400).problem("invalid_request").contains("purpose"));
}

#[tokio::test]
async fn a_wrong_content_type() {
    let client = caller();
    let request = client.request("POST", "/v1/collections").header("content-type", "text/plain").body("{}");
    let answer = client.send(request).await.expect(415);
    assert!(answer.problem("unsupported_media_type").contains("application/json"), "{}", answer.text());
    let request = client.request("POST", "/v1/detect").header("content-type", "application/pdf").body("%PDF");
    let answer = client.send(request).await.expect(415);
    assert!(answer.problem("unsupported_media_type").contains("image/jpeg"), "{}", answer.text());
}

#[tokio::test]
async fn ids_outside_the_alphabet() {
    let client = caller();
    for bad in ["", "../etc", "-x", "a b", "é", &"k".repeat(65)] {
        let answer = client.post("/v1/collections", &json!({"id": bad, "purposes": ["a"]})).await.expect(400);
        assert_eq!(answer.problem_fields(), ["/id"], "{bad:?}: {}", answer.text());
    }
    drop(client.get("/v1/collections/%2e%2e%2fetc").await.expect(400));
}

#[tokio::test]
async fn a_threshold_with_two_targets_and_one_out_of_range() {
    let client = collection_with("thresholds", &[]).await;
    let search = async |threshold| {
        let image = encoded(&Person::Astronaut.photo());
        let body = json!({"image": image, "purpose": "access_control", "threshold": threshold});
        client.post("/v1/collections/thresholds/identify", &body).await.expect(400)
    };
    let two = search(json!({"target_fpir": 0.01, "score": 0.4})).await;
    assert!(two.problem("invalid_request").contains("exactly one"), "{}", two.text());
    let far = search(json!({"target_fmr": 2})).await;
    assert_eq!(far.problem_fields(), ["/threshold/target_fmr"], "{}", far.text());
}

#[tokio::test]
async fn a_cursor_and_a_limit_that_make_no_sense() {
    let client = caller();
    let answer = client.get("/v1/collections?cursor=nonsense").await.expect(400);
    assert!(answer.problem("invalid_cursor").contains("without a cursor"));
    let answer = client.get("/v1/collections?limit=101").await.expect(400);
    assert!(answer.problem("invalid_request").contains("100"));
}

#[tokio::test]
async fn a_deadline_that_is_too_short() {
    let client = caller();
    let request = client.request("POST", "/v1/detect").header("content-type", "image/png").header("x-deadline-ms", "1");
    let answer = client.send(request.body(Person::Astronaut.photo())).await.expect(504);
    assert_eq!(answer.json["retryable"], true);
    assert!(!answer.problem("deadline_exceeded").is_empty());
}
