//! Jobs of many items on two workers, one of which is killed in between: each item has exactly one outcome, and whoever
//! follows the job goes on at the other gateway.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::Response;
use serde_json::{Value, json};
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, encoded};
use tokio::task::block_in_place;

use crate::ALONE;

/// Items of a job.
const ITEMS: usize = 100;
/// The one that shows nobody.
const EMPTY: usize = 7;
/// Outcomes after which a worker dies.
const KILL_AFTER: u64 = 15;
/// A job is done within this time.
const LIMIT: Duration = Duration::from_secs(120);

/// Events of a job as they come.
struct Events {
    response: Response,
    text: String,
}

/// One of them: its name, its id, the job.
#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    job: Value,
}

impl Events {
    async fn follow(client: &Client, job: &str, last: Option<&str>) -> Self {
        let request = client.request("GET", &format!("{job}/events"));
        let request = last.into_iter().fold(request, |r, id| r.header("last-event-id", id));
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    async fn next(&mut self) -> Option<Event> {
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
            let waited = tokio::time::timeout(LIMIT, self.response.chunk()).await.expect("an event or a sign of life");
            let piece = waited.ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }
}

fn outcomes(job: &Value) -> u64 {
    ["succeeded", "failed"].iter().filter_map(|name| job["progress"][*name].as_u64()).sum()
}

async fn submit(client: &Client, kind: &str, items: &[Value]) -> String {
    let body = json!({"kind": kind, "collection_id": "staff", "items": items});
    client.post("/v1/jobs", &body).await.expect(202).header("location").to_owned()
}

/// Follows a job at one gateway, kills a worker when it has begun, goes on at the other gateway, to the end.
async fn followed_past_a_death(cluster: &mut Cluster, job: &str, victim: usize) -> Value {
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    let began = Instant::now();
    let mut ids = Vec::new();
    let mut events = Events::follow(&clients[0], job, None).await;
    let last = loop {
        let event = events.next().await.expect("the job has not ended");
        assert_eq!(event.name, "progress", "{event:?}");
        ids.push(event.id.parse::<u64>().expect("a number"));
        if outcomes(&event.job) >= KILL_AFTER {
            break event;
        }
    };
    block_in_place(|| cluster.worker_mut(victim).kill());
    let killed = Instant::now();
    drop(events);
    let mut events = Events::follow(&clients[1], job, Some(&last.id)).await;
    let end = loop {
        let event = events.next().await.expect("the end is told");
        ids.push(event.id.parse::<u64>().expect("a number"));
        if event.name == "done" {
            break event.job;
        }
    };
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    println!("{job}: {:.1?} in all, done {:.1?} after worker {victim} was killed", began.elapsed(), killed.elapsed());
    block_in_place(|| cluster.worker_mut(victim).restart());
    end
}

/// The outcomes of a job, one line each.
async fn results(client: &Client, job: &str) -> Vec<Value> {
    let answer = client.get(&format!("{job}/results")).await.expect(200);
    answer.text().lines().map(|l| serde_json::from_str(l).expect("a line of JSON")).collect()
}

fn everyone_once(lines: &[Value]) {
    let indices: Vec<_> = lines.iter().filter_map(|l| l["index"].as_u64()).collect();
    let all: Vec<u64> = (0..ITEMS as u64).collect();
    assert_eq!(indices, all, "each item has exactly one outcome");
}

fn photo() -> Bytes {
    Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_item_has_one_outcome_although_workers_are_killed() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions::default());
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = photo();
    let nobody = Picture::filled(160, 160, [90; 3]).png();
    let consent = json!({"purposes": ["access_control"], "method": "web_form"});
    let person = |i: usize| {
        let image = encoded(if i == EMPTY { &nobody } else { &photo });
        json!({"id": format!("p{i:02}"), "consent": consent, "images": [image]})
    };
    let job = submit(&client, "bulk_enrol", &(0..ITEMS).map(person).collect::<Vec<_>>()).await;
    let end = followed_past_a_death(&mut cluster, &job, 0).await;
    assert_eq!(end["state"], "succeeded", "{end}");
    assert_eq!(end["progress"], json!({"items": ITEMS, "succeeded": ITEMS - 1, "failed": 1}));
    let lines = results(&client, &job).await;
    everyone_once(&lines);
    for (i, line) in lines.iter().enumerate() {
        if i == EMPTY {
            assert_eq!(line["problem"]["code"], "no_face", "{line}");
        } else {
            assert_eq!(line["result"]["subject"]["id"], format!("p{i:02}"), "{line}");
        }
    }
    let expected: BTreeSet<String> = (0..ITEMS).filter(|i| *i != EMPTY).map(|i| format!("p{i:02}")).collect();
    assert_eq!(client.subjects("staff").await, expected);
    let stats = client.get("/v1/collections/staff/stats").await.ok();
    assert_eq!(stats["faces"], ITEMS - 1, "an item took effect twice: {stats}");

    let searches: Vec<Value> = (0..ITEMS).map(|_| json!({"images": [encoded(&photo)]})).collect();
    let job = submit(&client, "bulk_identify", &searches).await;
    let end = followed_past_a_death(&mut cluster, &job, 1).await;
    assert_eq!(end["progress"], json!({"items": ITEMS, "succeeded": ITEMS, "failed": 0}), "{end}");
    let lines = results(&client, &job).await;
    everyone_once(&lines);
    assert!(lines.iter().all(|l| l["result"]["threshold"]["gallery_size"] == ITEMS - 1), "a search missed somebody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_pass_nginx_as_they_come_and_a_cancelled_job_stops() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { workers: 1, ..ClusterOptions::default() });
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    drop(client.enrol("staff", "astronaut", &[photo()]).await.expect(201));
    let searches: Vec<Value> = (0..ITEMS).map(|_| json!({"images": [encoded(&photo())]})).collect();
    let job = submit(&client, "bulk_identify", &searches).await;
    let mut events = Events::follow(&client, &job, None).await;
    let first = events.next().await.expect("an event");
    assert!(outcomes(&first.job) < ITEMS as u64, "events were held back until the end: {first:?}");
    drop(client.delete(&job).await.expect(204));
    let end = loop {
        let event = events.next().await.expect("the end is told");
        if event.name == "done" {
            break event.job;
        }
    };
    assert_eq!(end["state"], "cancelled", "{end}");
    let done = results(&client, &job).await.len();
    assert!(done < ITEMS, "it was too late to cancel");
    // The worker goes on to other things, and adds nothing to what was cancelled.
    drop(client.identify("staff", &photo()).await.ok());
    let after = results(&client, &job).await.len();
    println!("cancelled with {done} of {ITEMS} outcomes, {after} in the end");
    assert!(after <= done + 8, "work on a cancelled job went on: {done}, then {after}");
}
