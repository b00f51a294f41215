//! `Prefer` and what becomes of the jobs.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::app::{Answer, App, answer, consent, image};

fn prefer(app: &App, path: &str, how: &str, body: &Value) -> RequestBuilder {
    app.call(Method::POST, path).header("prefer", how).json(body)
}

async fn ended(app: &App, accepted: &Answer) -> Value {
    let location = accepted.header("location");
    assert_eq!(location, format!("/v1/jobs/{}", accepted.body["id"].as_str().unwrap()));
    loop {
        let job = app.get(location).await.expect(200);
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            return job;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_result_is_the_synchronous_answer() {
    let app = App::start().await;
    app.collection("staff").await;
    let path = "/v1/collections/staff/identify";
    let body = json!({"image": image("face")});
    let at_once = app.post(path, body.clone()).await.expect(200);
    let accepted = answer(prefer(&app, path, "respond-async", &body)).await;
    assert_eq!((accepted.status, accepted.body["state"].as_str()), (202, Some("queued")));
    assert_eq!(accepted.header("preference-applied"), "respond-async");
    let job = ended(&app, &accepted).await;
    assert_eq!((&job["state"], &job["kind"], &job["result"]), (&json!("succeeded"), &json!("identify"), &at_once));
    let sent = app.worker.as_ref().unwrap().last();
    assert!(sent.keep_result && sent.reply_to.is_empty());

    let enrolled = json!({"id": "anna", "consent": consent(), "image": image("face")});
    let accepted = answer(prefer(&app, "/v1/collections/staff/subjects", "respond-async", &enrolled)).await;
    assert_eq!(ended(&app, &accepted).await["result"]["subject"]["id"], "anna");
    let listed = app.get("/v1/jobs").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_failure_is_the_synchronous_problem() {
    let app = App::start().await;
    let body = json!({"image": image("bad")});
    let accepted = answer(prefer(&app, "/v1/detect", "respond-async", &body)).await;
    let job = ended(&app, &accepted).await;
    assert_eq!((&job["state"], &job["result"]), (&json!("failed"), &Value::Null));
    assert_eq!((&job["problem"]["code"], &job["problem"]["status"]), (&json!("image_undecodable"), &json!(422)));
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_answers_in_time_or_with_the_job() {
    let app = App::start().await;
    let quick = answer(prefer(&app, "/v1/detect", "wait=20", &json!({"image": image("face")}))).await;
    assert_eq!(quick.status, 200);
    assert!(quick.body["items"].is_array());
    let slow = answer(prefer(&app, "/v1/detect", "wait=1", &json!({"image": image("silent")}))).await;
    assert_eq!(slow.status, 202);
    assert_eq!(app.get(slow.header("location")).await.expect(200)["state"], "queued");
    let bad = answer(prefer(&app, "/v1/detect", "wait=soon", &json!({"image": image("face")}))).await;
    assert_eq!(bad.problem(400, "invalid_request", "seconds").pointer(), "prefer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_can_be_cancelled_until_it_has_ended() {
    let app = App::start().await;
    let accepted = answer(prefer(&app, "/v1/detect", "respond-async", &json!({"image": image("silent")}))).await;
    let location = accepted.header("location");
    assert_eq!(app.delete(location).await.status, 204);
    assert_eq!(ended(&app, &accepted).await["state"], "cancelled");
    let accepted = answer(prefer(&app, "/v1/detect", "respond-async", &json!({"image": image("face")}))).await;
    ended(&app, &accepted).await;
    app.delete(accepted.header("location")).await.problem(409, "conflict", "ended");
    app.get("/v1/jobs/none").await.problem(404, "job_not_found", "none");
    app.delete("/v1/jobs/none").await.problem(404, "job_not_found", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_repeated_under_one_idempotency_key_is_one_job() {
    let app = App::start().await;
    let ask = || {
        prefer(&app, "/v1/detect", "respond-async", &json!({"image": image("face")})).header("idempotency-key", "j1")
    };
    let (first, second) = (answer(ask()).await, answer(ask()).await);
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(first.header("location"), second.header("location"));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_need_the_scope_of_what_the_job_did() {
    let app = App::start().await;
    let accepted = answer(prefer(&app, "/v1/embeddings", "respond-async", &json!({"image": image("face")}))).await;
    ended(&app, &accepted).await;
    let nosy = app.key_with(&["jobs"]).await;
    answer(app.call_as(&nosy, Method::GET, accepted.header("location"))).await.problem(403, "forbidden", "embed");
}
