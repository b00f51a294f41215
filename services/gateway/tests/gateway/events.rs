//! `GET /v1/jobs/{id}/events`: following a job, and going on after an interruption.

use std::time::Duration;

use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::{
    app::{App, image, read},
    worker::Worker,
};

/// One server-sent event.
#[derive(Debug, Default)]
pub struct Event {
    pub name: String,
    pub id: String,
    retry: String,
    pub data: Value,
}

/// Reads events off a response as they come.
pub struct Events {
    response: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    text: String,
}

impl Events {
    pub fn of(response: Response) -> Self {
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        assert_eq!(
            (&response.headers()["cache-control"], &response.headers()["x-accel-buffering"]),
            (&"no-cache".parse().unwrap(), &"no".parse().unwrap())
        );
        Self { response: response.bytes_stream().boxed(), text: String::new() }
    }

    /// The next one, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut event = Event::default();
                for (name, value) in block.lines().filter_map(|l| l.split_once(':')) {
                    match name {
                        "event" => event.name = value.trim().into(),
                        "id" => event.id = value.trim().into(),
                        "retry" => event.retry = value.trim().into(),
                        "data" => event.data = serde_json::from_str(value).unwrap(),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                if event.name.is_empty() {
                    continue;
                }
                return Some(event);
            }
            self.text.push_str(std::str::from_utf8(&self.response.next().await?.unwrap()).unwrap());
        }
    }
}

async fn started(app: &App, contents: &[&str]) -> String {
    app.collection("staff").await;
    let items: Vec<Value> = contents.iter().map(|c| json!({"images": [image(c)]})).collect();
    let body = json!({"kind": "bulk_identify", "collection_id": "staff", "items": items});
    app.post("/v1/jobs", body).await.expect(202)["id"].as_str().unwrap().to_owned()
}

async fn follow(app: &App, job: &str, last: Option<&str>) -> Response {
    let request = app.call(Method::GET, &format!("/v1/jobs/{job}/events"));
    let request = last.into_iter().fold(request, |r, id| r.header("last-event-id", id));
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_told_from_its_start_to_its_end() {
    let mut app = App::start().await;
    app.worker = None;
    let job = started(&app, &["face"; 20]).await;
    let mut events = Events::of(follow(&app, &job, None).await);
    let first = events.next().await.unwrap();
    assert_eq!((&*first.name, &*first.retry), ("progress", "1000"));
    assert_eq!((&first.data["id"], &first.data["state"]), (&json!(job), &json!("queued")));
    assert_eq!(first.data["progress"], json!({"items": 20, "succeeded": 0, "failed": 0}));
    app.worker = Some(Worker::start(app.queue.clone(), app.store.clone()));
    let mut seen = vec![first];
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    let ids: Vec<u64> = seen.iter().map(|e| e.id.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let last = seen.pop().unwrap();
    assert_eq!((&*last.name, &last.data["state"], last.data.get("result")), ("done", &json!("succeeded"), None));
    assert_eq!(last.data["progress"]["succeeded"], 20);
    assert!(seen.iter().all(|e| e.name == "progress"));

    // Whoever connects later is told the end at once, and only once.
    let again = Events::of(follow(&app, &job, Some(&seen[0].id)).await).next().await.unwrap();
    assert_eq!((&again.name, &again.id), (&last.name, &last.id));
    assert_eq!(follow(&app, &job, Some(&last.id)).await.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_at_another_gateway_when_its_own_drains() {
    let app = App::start().await;
    let job = started(&app, &["face", "silent"]).await;
    let mut events = Events::of(follow(&app, &job, None).await);
    let mut last = events.next().await.unwrap();
    while last.data["progress"]["succeeded"] != 1 {
        last = events.next().await.unwrap();
    }
    let other = app.second().await;
    app.shutdown.cancel();
    assert!(events.next().await.is_none(), "the stream ends in good order");
    tokio::time::timeout(Duration::from_secs(10), app.serving).await.unwrap().unwrap().unwrap();

    let answer = follow(&other, &job, Some(&last.id)).await;
    let mut events = Events::of(answer);
    let none = tokio::time::timeout(Duration::from_millis(900), events.next()).await;
    assert!(none.is_err(), "what the client has is not told again: {none:?}");
    assert_eq!(other.delete(&format!("/v1/jobs/{job}")).await.status, 204);
    let end = events.next().await.unwrap();
    assert_eq!((&*end.name, &end.data["state"]), ("done", &json!("cancelled")));
    assert!(events.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_take_no_other_requests_place() {
    let app = App::start_with(|c| {
        c.limits.event_streams = 2;
        c.limits.in_flight = 1;
    })
    .await;
    let job = started(&app, &["silent"]).await;
    let (mut first, second) = (follow(&app, &job, None).await, follow(&app, &job, None).await);
    assert!(first.chunk().await.unwrap().is_some());
    read(follow(&app, &job, None).await).await.problem(503, "overloaded", "followed");
    app.get("/v1/jobs").await.expect(200);
    drop((first, second));
    while follow(&app, &job, None).await.status() != 200 {
        tokio::task::yield_now().await;
    }
    read(follow(&app, "none", None).await).await.problem(404, "job_not_found", "none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_key_it_was_opened_with() {
    let app = App::start().await;
    let job = started(&app, &["silent"]).await;
    let key = app.key_with(&["jobs", "identify"]).await;
    let path = format!("/v1/jobs/{job}/events");
    let mut events = Events::of(app.call_as(&key, Method::GET, &path).send().await.unwrap());
    let mut others = Events::of(follow(&app, &job, None).await);
    for stream in [&mut events, &mut others] {
        assert_eq!(stream.next().await.unwrap().name, "progress");
    }
    let id = key.split('_').nth(1).unwrap();
    assert_eq!(app.delete(&format!("/v1/api-keys/{id}")).await.status, 204);
    let ended = tokio::time::timeout(Duration::from_secs(10), async { while events.next().await.is_some() {} }).await;
    assert!(ended.is_ok(), "who has no key any more is still told");
    read(app.call_as(&key, Method::GET, &path).send().await.unwrap()).await.problem(401, "unauthenticated", "");
    // Other keys' streams go on: this one tells the end of the job.
    assert_eq!(app.delete(&format!("/v1/jobs/{job}")).await.status, 204);
    let mut last = String::new();
    while let Some(event) = others.next().await {
        last = event.name;
    }
    assert_eq!(last, "done");
}
