//! kill -9 of a gateway while it works: nginx has the other one answer what may be sent twice, and callers repeat the
//! rest under its key.

use std::{collections::BTreeSet, time::Duration};

use testkit::{Client, Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::{sync::mpsc, task::JoinSet};

use crate::load::{ALONE, Outcome, Summary, ask};

const REQUESTS: usize = 60;
/// Answers after which the process dies.
const KILL_AFTER: usize = 4;
/// A write is repeated for this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends everything at once, kills when the first answers are there, and gives all outcomes.
async fn killed_midway(
    client: &Client,
    request: impl Fn(&Client, usize) -> reqwest::RequestBuilder,
    kill: impl FnOnce(),
) -> Vec<Outcome> {
    let (answered, mut answers) = mpsc::channel(REQUESTS);
    let start = std::time::Instant::now();
    let mut requests = JoinSet::new();
    for i in 0..REQUESTS {
        let (client, request, answered) = (client.clone(), request(client, i), answered.clone());
        requests.spawn(async move {
            answered.send(ask(&client, i, request, start, start).await).await.expect("somebody counts");
        });
    }
    drop(answered);
    let mut outcomes = Vec::new();
    while outcomes.len() < KILL_AFTER {
        outcomes.push(answers.recv().await.expect("answers"));
    }
    tokio::task::block_in_place(kill);
    while let Some(outcome) = answers.recv().await {
        outcomes.push(outcome);
    }
    outcomes
}

/// Two and two, since gateways take turns: each gets some of both.
fn is_search(i: usize) -> bool {
    (i / 2).is_multiple_of(2)
}

fn detect(client: &Client, photo: &bytes::Bytes) -> reqwest::RequestBuilder {
    let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png");
    request.header("x-deadline-ms", "60000").body(photo.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_gateways_searches_are_answered_by_the_other_and_its_writes_told_apart() {
    let _alone = ALONE.lock().await;
    let mut cluster = Cluster::start(ClusterOptions::default());
    let client = cluster.client();
    drop(client.create_collection("c").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let body = |i: usize| enrolment(&format!("s{i:02}"), std::slice::from_ref(&photo));
    let request = |c: &Client, i: usize| {
        if is_search(i) {
            detect(c, &photo)
        } else {
            let request = c.request("POST", "/v1/collections/c/subjects").header("idempotency-key", format!("k{i}"));
            request.json(&body(i))
        }
    };
    let outcomes = killed_midway(&client, request, || cluster.gateway_mut(1).kill()).await;
    println!("gateway killed: {}", Summary(&outcomes));
    let (searches, writes): (Vec<_>, Vec<_>) = outcomes.iter().partition(|o| is_search(o.number));
    let failed: Vec<_> =
        searches.iter().filter_map(|o| Some(o.answer.as_ref()?.text()).filter(|_| !o.succeeded())).collect();
    assert!(failed.is_empty(), "{} searches failed: {failed:#?}", failed.len());
    let refused: Vec<_> = writes.iter().filter(|o| !o.succeeded()).collect();
    assert!(!refused.is_empty(), "the kill came too late to prove anything");
    for outcome in &refused {
        assert_eq!((outcome.status, outcome.code.as_str()), (503, "overloaded"), "{outcome:?}");
    }
    // A caller repeats what it was told to repeat, with the same key, until it is done; never twice.
    for outcome in &refused {
        let repeated = repeat(&client, outcome.number, &body(outcome.number)).await;
        assert_eq!(repeated.status, 201, "{}", repeated.text());
    }
    let enrolled = client.subjects("c").await;
    let expected: BTreeSet<String> = writes.iter().map(|o| format!("s{:02}", o.number)).collect();
    assert_eq!(enrolled, expected);
    let stats = client.get("/v1/collections/c/stats").await.ok();
    assert_eq!(stats["faces"], expected.len(), "{stats}");
    println!("{} writes were repeated under their keys", refused.len());
}

/// Repeats a write until its answer is final.
async fn repeat(client: &Client, number: usize, body: &serde_json::Value) -> testkit::Answer {
    let began = std::time::Instant::now();
    loop {
        let request = client.request("POST", "/v1/collections/c/subjects");
        let answer = client.send(request.header("idempotency-key", format!("k{number}")).json(body)).await;
        let again = answer.status == 503 || !answer.header("retry-after").is_empty();
        if !again || began.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
