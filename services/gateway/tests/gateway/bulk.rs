//! `POST /v1/jobs`: many items in one request, an outcome each.

use domain::Lane;
use queue::MemoryOptions;
use reqwest::{
    Method,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use crate::app::{Answer, App, answer, consent, image};

fn person(id: &str, content: &str) -> Value {
    json!({"id": id, "consent": consent(), "images": [image(content)]})
}

fn enrolment(items: &[Value]) -> Value {
    json!({"kind": "bulk_enrol", "collection_id": "staff", "items": items})
}

fn identification(contents: &[&str]) -> Value {
    let items: Vec<Value> = contents.iter().map(|c| json!({"images": [image(c)]})).collect();
    json!({"kind": "bulk_identify", "collection_id": "staff", "items": items})
}

fn path(accepted: &Answer) -> String {
    assert_eq!(accepted.status, 202, "{:?}", accepted.body);
    let location = accepted.header("location");
    assert_eq!(location, format!("/v1/jobs/{}", accepted.body["id"].as_str().unwrap()));
    location.to_owned()
}

async fn until(app: &App, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
    loop {
        let job = app.get(path).await.expect(200);
        if enough(&job) {
            return job;
        }
    }
}

fn done(job: &Value) -> bool {
    job["state"] == "succeeded"
}

/// Lines of the results. A single line is itself a JSON document, which the reader of answers has parsed already.
async fn results(app: &App, path: &str) -> Vec<Value> {
    let got = app.get(&format!("{path}/results")).await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/x-ndjson"));
    match got.body {
        Value::Null => Vec::new(),
        Value::String(text) => text.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
        line => vec![line],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_has_the_outcome_its_own_request_would_have() {
    let app = App::start().await;
    app.collection("staff").await;
    app.subject("staff", "taken").await;
    let items: Vec<Value> =
        (0..40).map(|i| person(&format!("p{i}"), if i == 7 { "no_face" } else { "face" })).collect();
    let items = [&items[..], &[person("taken", "face")]].concat();
    let accepted = app.post("/v1/jobs", enrolment(&items)).await;
    assert_eq!(accepted.body["progress"], json!({"items": 41, "succeeded": 0, "failed": 0}));
    let path = path(&accepted);
    let job = until(&app, &path, done).await;
    assert_eq!(job["progress"], json!({"items": 41, "succeeded": 39, "failed": 2}));
    assert_eq!((job.get("result"), job.get("problem")), (None, None));

    let lines = results(&app, &path).await;
    let order: Vec<u64> = lines.iter().map(|l| l["index"].as_u64().unwrap()).collect();
    assert_eq!(order, (0..41).collect::<Vec<_>>());
    assert_eq!((&lines[3]["status"], &lines[3]["result"]["subject"]["id"]), (&json!("succeeded"), &json!("p3")));
    assert_eq!((&lines[7]["status"], &lines[7]["problem"]["code"]), (&json!("failed"), &json!("no_face")));
    assert_eq!(lines[40]["problem"]["code"], "conflict");
    app.get("/v1/collections/staff/subjects/p39").await.expect(200);

    let alone = app.post("/v1/collections/staff/identify", json!({"image": image("face")})).await.expect(200);
    let accepted = app.post("/v1/jobs", identification(&["face", "bad"])).await;
    let path = self::path(&accepted);
    until(&app, &path, done).await;
    let lines = results(&app, &path).await;
    assert_eq!(lines[0]["result"], alone);
    assert_eq!((lines.len(), &lines[1]["problem"]["code"]), (2, &json!("image_undecodable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn strands_share_the_items_and_travel_on_the_bulk_lane() {
    let mut app = App::start().await;
    app.collection("staff").await;
    app.worker = None;
    let accepted = app.post("/v1/jobs", identification(&["face"; 33])).await;
    let path = path(&accepted);
    assert_eq!(app.queue.depth(Lane::Bulk).await.unwrap().waiting, 3);
    assert_eq!(app.get(&path).await.expect(200)["state"], "queued");
    assert!(results(&app, &path).await.is_empty());
    app.worker = Some(crate::worker::Worker::start(app.queue.clone(), app.store.clone()));
    until(&app, &path, done).await;
    let seen = app.worker.as_ref().unwrap().seen.lock().clone();
    let id = accepted.body["id"].as_str().unwrap();
    let mut ids: Vec<&str> = seen.iter().map(|e| e.job_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [format!("{id}.0"), format!("{id}.1"), format!("{id}.2")]);
    assert!(seen.iter().all(|e| !e.keep_result && e.reply_to.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_names_its_files() {
    let app = App::start().await;
    app.collection("staff").await;
    let file = |name: &str, content: &str| Part::bytes(content.to_owned().into_bytes()).file_name(name.to_owned());
    let item = |id: &str, images: Value| json!({"id": id, "consent": consent(), "images": images});
    let job = |items: Value| json!({"kind": "bulk_enrol", "collection_id": "staff", "items": items}).to_string();
    let send = |form: Form| answer(app.call(Method::POST, "/v1/jobs").multipart(form));
    let two = json!([item("anna", json!(["a.jpg", "b.jpg"])), item("bert", json!([image("face")]))]);
    // The job may come after its files.
    let form = Form::new().part("file", file("b.jpg", "face")).part("x", file("a.jpg", "face")).text("job", job(two));
    let path = path(&send(form).await);
    until(&app, &path, done).await;
    let lines = results(&app, &path).await;
    let faces = |line: &Value| line["result"]["faces"].as_array().unwrap().len();
    assert_eq!((faces(&lines[0]), faces(&lines[1])), (2, 1));

    let missing = json!([item("carl", json!(["a.jpg", "c.jpg"]))]);
    let form = Form::new().text("job", job(missing)).part("file", file("a.jpg", "face"));
    let refused = send(form).await;
    assert_eq!(refused.problem(400, "invalid_request", "c.jpg").pointer(), "/items/0/images/1");
    let unused = Form::new().text("job", job(json!([item("carl", json!([]))]))).part("file", file("a.jpg", "face"));
    send(unused).await.problem(400, "invalid_request", "no item uses");
    let none = Form::new().part("file", file("a.jpg", "face"));
    assert_eq!(send(none).await.problem(400, "invalid_request", "needs").pointer(), "job");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_of_a_request_with_one_bad_item() {
    let app = App::start_with(|c| {
        c.limits.job_items = 4;
        c.limits.image_bytes = 100;
    })
    .await;
    app.collection("staff").await;
    let fine = person("anna", "face");
    let with = |change: Value| {
        let mut bad = person("bert", "face");
        bad.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        enrolment(&[fine.clone(), bad])
    };
    let cases = [
        (with(json!({"images": [image("face"), {"b64": "?"}]})), "/items/1/images/1/b64"),
        (with(json!({"images": ["a.jpg"]})), "/items/1/images/0"),
        (with(json!({"id": "no/slash"})), "/items/1/id"),
        (with(json!({"id": "anna"})), "/items/1/id"),
        (with(json!({"external_id": ""})), "/items/1/external_id"),
        (with(json!({"consent": {"purposes": [], "method": "x"}})), "/items/1/consent/purposes"),
        (with(json!({"images": {}})), "/items/1/images"),
        (with(json!({"surprise": 1})), "/items/1/surprise"),
        (enrolment(&[fine.clone(), json!(1)]), "/items/1"),
        (enrolment(&[]), "/items"),
        (enrolment(&vec![fine.clone(); 5]), "/items"),
        (json!({"kind": "enrol", "items": []}), "/kind"),
        (json!({"kind": "bulk_enrol", "items": [fine]}), "/collection_id"),
        (json!({"kind": "bulk_identify", "collection_id": "staff", "items": [{}]}), "/items/0/images"),
        (json!({"kind": "bulk_identify", "collection_id": "staff", "limit": 0, "items": [{}]}), "/limit"),
        (
            json!({"kind": "bulk_identify", "collection_id": "staff", "items": [{"images": [image("face")], "limit": 1}]}),
            "/items/0/limit",
        ),
    ];
    for (body, pointer) in cases {
        let refused = app.post("/v1/jobs", body).await;
        assert_eq!(refused.problem(400, "invalid_request", "").pointer(), pointer);
    }
    let large = app.post("/v1/jobs", with(json!({"images": [image(&"x".repeat(101))]}))).await;
    assert_eq!(large.problem(413, "payload_too_large", "101").pointer(), "/items/1/images/0");
    let purpose = json!({"consent": {"purposes": ["marketing"], "method": "x"}});
    let refused = app.post("/v1/jobs", with(purpose)).await;
    assert_eq!(refused.problem(403, "consent_required", "/items/1").pointer(), "/items/1/consent/purposes");
    let mut elsewhere = enrolment(&[fine]);
    elsewhere["collection_id"] = json!("none");
    app.post("/v1/jobs", elsewhere).await.problem(404, "collection_not_found", "none");
    assert_eq!(app.get("/v1/jobs").await.expect(200)["items"], json!([]));
    assert_eq!(app.queue.depth(Lane::Bulk).await.unwrap().taken, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_and_reading_need_the_scope_of_what_is_done() {
    let app = App::start().await;
    app.collection("staff").await;
    let only_jobs = app.key_with(&["jobs"]).await;
    let body = identification(&["face"]);
    let request = app.call_as(&only_jobs, Method::POST, "/v1/jobs").json(&body);
    answer(request).await.problem(403, "forbidden", "identify");
    let only_identify = app.key_with(&["identify"]).await;
    let request = app.call_as(&only_identify, Method::POST, "/v1/jobs").json(&body);
    answer(request).await.problem(403, "forbidden", "jobs");
    let path = path(&app.post("/v1/jobs", body).await);
    for below in ["", "/results", "/events"] {
        let request = app.call_as(&only_jobs, Method::GET, &format!("{path}{below}"));
        answer(request).await.problem(403, "forbidden", "identify");
    }
    app.get("/v1/jobs/none/results").await.problem(404, "job_not_found", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_shows_what_it_has_and_keeps_it_when_cancelled() {
    let app = App::start().await;
    app.collection("staff").await;
    // One strand, which stops at its third item.
    let items = ["face", "no_face", "silent", "face"].into_iter().enumerate();
    let items: Vec<Value> = items.map(|(i, content)| person(&format!("p{i}"), content)).collect();
    let path = path(&app.post("/v1/jobs", enrolment(&items)).await);
    let job = until(&app, &path, |j| j["progress"]["succeeded"] == 1 && j["progress"]["failed"] == 1).await;
    assert_eq!(job["state"], "running");
    assert_eq!(results(&app, &path).await.len(), 2);
    assert_eq!(app.delete(&path).await.status, 204);
    let job = app.get(&path).await.expect(200);
    assert_eq!((&job["state"], &job["progress"]["items"]), (&json!("cancelled"), &json!(4)));
    assert_eq!(results(&app, &path).await.len(), 2, "what was done is told");
    let jobs = store::Jobs::new(app.store.clone(), &domain::TenantId::new("default").unwrap());
    let id = domain::JobId::new(job["id"].as_str().unwrap()).unwrap();
    assert_eq!(jobs.open_items(&id, (0, 1), 10).await.unwrap(), [0; 0], "images of what will not be done are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_not_begun() {
    let mut app = App::start().await;
    app.collection("staff").await;
    app.worker = None;
    let path = path(&app.post("/v1/jobs", enrolment(&[person("anna", "face")])).await);
    assert_eq!(app.delete(&path).await.status, 204);
    app.worker = Some(crate::worker::Worker::start(app.queue.clone(), app.store.clone()));
    let next = self::path(&app.post("/v1/jobs", enrolment(&[person("bert", "face")])).await);
    until(&app, &next, done).await;
    app.get("/v1/collections/staff/subjects/anna").await.problem(404, "subject_not_found", "");
    app.get("/v1/collections/staff/subjects/bert").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_bulk_job_is_one_job() {
    let app = App::start().await;
    app.collection("staff").await;
    let nameless = json!({"consent": consent(), "images": [image("face")]});
    let body = enrolment(&[nameless.clone(), nameless]);
    let ask = || answer(app.call(Method::POST, "/v1/jobs").header("idempotency-key", "b1").json(&body));
    let (first, second) = (ask().await, ask().await);
    let path = path(&first);
    assert_eq!(path, self::path(&second));
    until(&app, &path, done).await;
    let lines = results(&app, &path).await;
    assert_ne!(lines[0]["result"]["subject"]["id"], lines[1]["result"]["subject"]["id"]);
    let subjects = app.get("/v1/collections/staff/subjects").await.expect(200);
    assert_eq!(subjects["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_the_lane_does_not_take_is_refused_and_may_be_tried_again() {
    let mut app = App::start_on(MemoryOptions { lane_capacity: 1, ..MemoryOptions::default() }, |_| {}).await;
    app.collection("staff").await;
    app.worker = None;
    let before = path(&app.post("/v1/jobs", identification(&["face"])).await);
    let body = identification(&["face", "face"]);
    let ask = |app: &App| answer(app.call(Method::POST, "/v1/jobs").header("idempotency-key", "full").json(&body));
    ask(&app).await.problem(503, "overloaded", "");
    let listed = app.get("/v1/jobs").await.expect(200);
    let refused = listed["items"].as_array().unwrap().iter().find(|j| j["state"] == "failed").unwrap();
    assert_eq!(refused["problem"]["code"], "overloaded");
    let id = domain::JobId::new(refused["id"].as_str().unwrap()).unwrap();
    let jobs = store::Jobs::new(app.store.clone(), &domain::TenantId::new("default").unwrap());
    assert_eq!(jobs.open_items(&id, (0, 1), 99).await.unwrap(), [0; 0], "its images are not kept");

    app.worker = Some(crate::worker::Worker::start(app.queue.clone(), app.store.clone()));
    until(&app, &before, done).await;
    let path = path(&ask(&app).await);
    until(&app, &path, done).await;
    assert_eq!(results(&app, &path).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_one_request_has_one_line() {
    let app = App::start().await;
    for (content, status) in [("face", "succeeded"), ("bad", "failed")] {
        let request = app.call(Method::POST, "/v1/detect").header("prefer", "respond-async");
        let accepted = answer(request.json(&json!({"image": image(content)}))).await;
        let path = path(&accepted);
        let job = until(&app, &path, |j| j["state"] == status).await;
        let lines = results(&app, &path).await;
        assert_eq!((lines.len(), &lines[0]["index"], &lines[0]["status"]), (1, &json!(0), &json!(status)));
        assert_eq!(
            (lines[0].get("result"), lines[0]["problem"].get("code")),
            (job.get("result"), job["problem"].get("code"))
        );
    }
}
