//! A model that takes another's place while people are looked for: people made up from photos, callers that search
//! meanwhile, and the steps of a promotion as a caller sees them. Included by path where it is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::{Answer, Client, Person, Picture, enrolment};
use tokio::task::JoinSet;

/// Longest time for a promotion of this size.
pub const LONG: Duration = Duration::from_secs(120);
/// Callers that search meanwhile.
const CALLERS: usize = 2;

/// Somebody made up from a photo: stretched, so that the distances within the face are another person's.
pub fn somebody(n: usize) -> [Bytes; 2] {
    let person = Person::ALL[n % 3];
    let kind = u32::try_from(n / 3).unwrap_or(0);
    let portrait = Picture::decode(&person.photo()).at_most(260);
    let portrait = if kind % 2 == 1 { portrait.mirrored() } else { portrait };
    let (width, height) = portrait.size();
    let stretched = portrait.resized(width + 14 * (kind / 2), height + 9 * (kind % 4));
    [stretched.png(), stretched.brightened(0.82).png()]
}

/// An enrolment whose crops may be kept.
pub async fn enrol(client: &Client, id: &str, photos: &[Bytes]) -> Answer {
    let mut body = enrolment(id, photos);
    body["consent"]["training_allowed"] = json!(true);
    client.post("/v1/collections/staff/subjects", &body).await
}

/// A collection `staff` that keeps crops, of so many people.
pub async fn staff(client: &Client, people: usize) {
    let body = json!({
        "id": "staff", "purposes": ["access_control"], "retain_crops": "training", "quality_gate": "none",
    });
    drop(client.post("/v1/collections", &body).await.expect(201));
    let mut enrolled = JoinSet::new();
    for n in 0..people {
        let client = client.clone();
        enrolled.spawn(async move { enrol(&client, &format!("p{n}"), &somebody(n)).await.expect(201) });
        if enrolled.len() >= 4 {
            enrolled.join_next().await;
        }
    }
    enrolled.join_all().await;
}

/// What a caller saw of one probe: under each model version, the best subjects and their scores.
pub type Seen = BTreeMap<String, BTreeSet<String>>;

/// Searches for somebody until told to stop.
async fn search(client: Client, probe: Bytes, stop: Arc<AtomicBool>) -> (usize, Seen, Vec<String>) {
    let (mut n, mut seen, mut failures) = (0, Seen::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let answer = client.identify("staff", &probe).await;
        let version = answer.json["model_version"].as_str().unwrap_or_default().to_owned();
        if answer.status != 200 {
            failures.push(format!("{} {}", answer.status, answer.text()));
            continue;
        }
        let best = &answer.json["results"][0]["candidates"][0];
        seen.entry(version).or_default().insert(format!(
            "{} {:.3}",
            best["subject_id"],
            best["score"].as_f64().unwrap_or(-9.0)
        ));
        n += 1;
    }
    (n, seen, failures)
}

/// Searches go on while `work` is done; what they saw, by caller.
pub async fn beside<T>(client: &Client, work: impl Future<Output = T>) -> (Vec<(usize, Seen)>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        callers.spawn(search(client.clone(), somebody(n)[1].clone(), Arc::clone(&stop)));
    }
    let outcome = work.await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for (n, seen, failures) in callers.join_all().await {
        assert!(failures.is_empty(), "searches failed: {failures:#?}");
        all.push((n, seen));
    }
    (all, outcome)
}

/// The same probe and the same gallery: each model has one answer, and one score.
#[track_caller]
pub fn never_across_models(seen: &[(usize, Seen)], versions: &[&str]) {
    for (n, seen) in seen {
        println!("{n} searches: {seen:?}");
        assert!(seen.values().all(|scores| scores.len() == 1), "a comparison across models: {seen:?}");
        assert!(seen.keys().all(|v| versions.contains(&v.as_str())), "{seen:?}");
    }
}

/// Asks for a promotion, and waits for what the gate says.
pub async fn promote(client: &Client, model: &str) -> Answer {
    let request = client.request("POST", &format!("/v1/models/{model}/promote")).header("prefer", "wait=110");
    client.send(request.json(&json!({"collection_id": "staff"}))).await
}

/// Where a model stands in the collection.
pub async fn place(client: &Client, model: &str) -> Value {
    client.get(&format!("/v1/models/{model}")).await.ok()["collections"][0].clone()
}

/// Waits until a promotion has come to its end.
pub async fn done(client: &Client, model: &str) -> Value {
    let began = Instant::now();
    loop {
        let place = place(client, model).await;
        if place["promotion"]["phase"] == "done" {
            return place;
        }
        assert!(began.elapsed() < LONG, "the promotion does not end: {place}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Refused by the gate, with its reasons.
#[track_caller]
pub fn refused(answer: &Answer) {
    let errors = answer.problem("gate_failed");
    assert!(answer.json["errors"].as_array().is_some_and(|e| !e.is_empty()), "{errors} {}", answer.text());
}
