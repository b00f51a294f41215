//! The three ways images come in, and what is refused about them.

use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::app::{App, answer, image};

fn part(content: &'static str) -> Part {
    Part::bytes(content.as_bytes()).file_name("photo.jpg").mime_str("image/jpeg").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_form_and_raw_bodies_give_the_same_answer() {
    let app = App::start().await;
    let json = app.post("/v1/detect", json!({"image": image("face")})).await.expect(200);
    let form = answer(app.call(Method::POST, "/v1/detect").multipart(Form::new().part("image", part("face")))).await;
    let raw = app.call(Method::POST, "/v1/detect?max_faces=3").header("content-type", "image/jpeg").body("face");
    let raw = answer(raw).await.expect(200);
    assert_eq!(json, form.expect(200));
    assert_eq!(json, raw);
    let face = &json["items"][0]["faces"][0];
    assert_eq!(face["box"], json!({"x": 1.0, "y": 2.0, "width": 30.0, "height": 40.0}));
    assert_eq!((face["landmarks"].as_array().unwrap().len(), &face["quality"]["level"]), (5, &json!("high")));
    assert_eq!((&json["items"][0]["width"], &json["model_version"]), (&json!(64), &json!("fake-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_give_an_item_each_and_a_bad_one_fails_alone() {
    let app = App::start().await;
    let body = json!({"images": [image("face"), image("bad"), image("no_face")]});
    let items = app.post("/v1/detect", body).await.expect(200)["items"].clone();
    let faces = |i: usize| items[i]["faces"].as_array().unwrap().len();
    assert_eq!((faces(0), faces(1), faces(2)), (1, 0, 0));
    assert_eq!(items[1]["problem"]["code"], "image_undecodable");
    assert_eq!((&items[0]["problem"], &items[2]["problem"]), (&Value::Null, &Value::Null));
    let form = Form::new().part("image", part("face")).part("image", part("no_face")).part("images", part("face"));
    let items = answer(app.call(Method::POST, "/v1/detect").multipart(form)).await.expect(200);
    assert_eq!(items["items"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_image_failing_is_the_answers_problem_with_its_status() {
    let app = App::start().await;
    let table = [
        ("bad", 422, "image_undecodable"),
        ("problem:image_too_large", 413, "image_too_large"),
        ("problem:unsupported_media_type", 415, "unsupported_media_type"),
        ("problem:inference_failed", 500, "inference_failed"),
        ("problem:spoof_suspected", 422, "spoof_suspected"),
        ("problem:model_not_ready", 503, "model_not_ready"),
    ];
    for (content, status, code) in table {
        let refused = app.post("/v1/detect", json!({"image": image(content)})).await;
        refused.problem(status, code, "as asked");
        assert_eq!(refused.header("retry-after").is_empty(), status != 503, "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_images_and_parameters_is_named() {
    let app = App::start_with(|c| c.limits.max_images = 3).await;
    let pointer =
        async |body: Value| app.post("/v1/detect", body).await.problem(400, "invalid_request", "").pointer().to_owned();
    assert_eq!(pointer(json!({})).await, "/image");
    assert_eq!(pointer(json!({"image": "abc"})).await, "/image");
    assert_eq!(pointer(json!({"image": {"b64": "***"}})).await, "/image/b64");
    assert_eq!(pointer(json!({"image": {"url": "http://localhost"}})).await, "/image/url");
    assert_eq!(pointer(json!({"images": vec![image("face"); 4]})).await, "images");
    assert_eq!(pointer(json!({"image": image("face"), "max_face": 1})).await, "/max_face");
    assert_eq!(pointer(json!({"image": image("face"), "max_faces": "1"})).await, "/max_faces");
    assert_eq!(pointer(json!({"image": image("face"), "max_faces": 0})).await, "/max_faces");
    let form = Form::new().part("image", part("face")).text("max_faces", "many");
    let refused = answer(app.call(Method::POST, "/v1/detect").multipart(form)).await;
    assert_eq!(refused.problem(400, "invalid_request", "JSON").pointer(), "/max_faces");
    let form = Form::new().part("photo", part("face"));
    answer(app.call(Method::POST, "/v1/detect").multipart(form)).await.problem(400, "invalid_request", "photo");
}

#[tokio::test(flavor = "multi_thread")]
async fn compare_takes_one_source_and_its_targets() {
    let app = App::start().await;
    let body = json!({"source": image("face"), "targets": [image("face"), image("no_face")], "threshold": {"target_fmr": 1e-5}});
    let got = app.post("/v1/compare", body).await.expect(200);
    assert_eq!((&got["items"][0]["decision"], &got["items"][0]["score"]), (&json!("match"), &json!(0.7)));
    assert_eq!((&got["items"][1]["decision"], &got["items"][1]["problem"]["code"]), (&Value::Null, &json!("no_face")));
    assert_eq!(got["threshold"]["target"], json!({"target_fmr": 1e-5}));

    let form = Form::new().part("source", part("face")).part("target", part("face")).part("target", part("face"));
    let got = answer(app.call(Method::POST, "/v1/compare").multipart(form)).await.expect(200);
    assert_eq!(got["items"].as_array().unwrap().len(), 2);

    let of = async |source, target| {
        app.post("/v1/compare", json!({"source": image(source), "targets": [image(target)]})).await
    };
    of("no_face", "face").await.problem(422, "no_face", "");
    of("face", "two_faces").await.problem(422, "multiple_faces", "");
    let none = app.post("/v1/compare", json!({"targets": [image("face")]})).await;
    assert_eq!(none.problem(400, "invalid_request", "").pointer(), "/source");
    let none = app.post("/v1/compare", json!({"source": image("face")})).await;
    assert_eq!(none.problem(400, "invalid_request", "").pointer(), "/targets");
    let both =
        json!({"source": image("face"), "targets": [image("face")], "threshold": {"score": 0.1, "target_fmr": 0.1}});
    assert_eq!(
        app.post("/v1/compare", both).await.problem(400, "invalid_request", "exactly one").pointer(),
        "/threshold"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_come_with_their_contract() {
    let app = App::start().await;
    let got = app.post("/v1/embeddings", json!({"image": image("face")})).await.expect(200);
    let embedding = &got["items"][0]["faces"][0]["embedding"];
    assert_eq!(embedding["contract"], crate::app::contract().to_string());
    assert_eq!(embedding["values"].as_array().unwrap().len(), 2);
}
