//! Bulk jobs as a caller sees them: submitted, followed by server-sent events, their outcomes read. Included by path.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};
use testkit::Client;

/// Longest silence: a stream gives a sign of life every ten seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Events of a job as they come.
pub struct Events {
    response: Response,
    text: String,
}

/// One of them.
#[derive(Debug)]
pub struct Event {
    /// `progress` or `done`.
    pub name: String,
    /// What to resume from.
    pub id: String,
    /// The job as it is.
    pub job: Value,
}

impl Event {
    /// Items that have their outcome.
    pub fn outcomes(&self) -> u64 {
        ["succeeded", "failed"].iter().filter_map(|name| self.job["progress"][*name].as_u64()).sum()
    }
}

impl Events {
    /// Follows a job, from the start or from after an event.
    pub async fn follow(client: &Client, job: &str, last: Option<&str>) -> Self {
        let request = client.request("GET", &format!("{job}/events"));
        let request = last.into_iter().fold(request, |r, id| r.header("last-event-id", id));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next one; none at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
                    line.map(|v| v.trim().to_owned())
                };
                let (name, id, data) = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                if let (Some(name), Some(id), Some(data)) = (name, id, data) {
                    return Some(Event { name, id, job: serde_json::from_str(&data).expect("JSON") });
                }
                continue;
            }
            let waited = tokio::time::timeout(SILENCE, self.response.chunk()).await.expect("a sign of life");
            let piece = waited.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }
}

/// Starts a job; gives its path.
pub async fn submit(client: &Client, kind: &str, collection: &str, items: &[Value]) -> String {
    let body = json!({"kind": kind, "collection_id": collection, "items": items});
    client.post("/v1/jobs", &body).await.expect(202).header("location").to_owned()
}

/// The outcomes of a job, one line each.
pub async fn results(client: &Client, job: &str) -> Vec<Value> {
    let answer = client.get(&format!("{job}/results")).await.expect(200);
    answer.text().lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect()
}
