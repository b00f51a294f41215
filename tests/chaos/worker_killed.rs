//! kill -9 of a worker amid everything it does: requests that are waited for, a bulk enrolment and a bulk identification.
//! Another one takes over; each request is answered in time, each item has exactly one outcome, and whoever follows a job
//! goes on at the other gateway.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, encoded};
use tokio::task::{JoinSet, block_in_place};

use crate::{
    events::{Event, Events, results, submit},
    load::{ALONE, Outcome, Summary, ask, quantile},
};

/// Items of each job.
const ITEMS: usize = 100;
/// The one that shows nobody.
const EMPTY: usize = 7;
/// Requests that are waited for.
const REQUESTS: usize = 40;
/// What the worker had is taken over and done within this time. Its lease ends five seconds after its last word; without
/// it the others would wait for [`IDLE`].
const RECOVERY: Duration = Duration::from_secs(30);
/// For how long an entry of a worker that lives must have been silent: longer than this test waits.
const IDLE: Duration = Duration::from_secs(300);

/// Reads events until `enough`; gives the last one and the ids of all.
async fn until(events: &mut Events, ids: &mut Vec<u64>, enough: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.next().await.expect("the end is told");
        ids.push(event.id.parse().expect("a number"));
        if event.name == "done" || enough(&event) {
            return event;
        }
    }
}

/// Goes on at another gateway from an event to the end.
async fn to_the_end(client: &Client, job: &str, last: Event, mut ids: Vec<u64>) -> Value {
    assert_eq!(last.name, "progress", "the kill came too late to prove anything");
    let mut events = Events::follow(client, job, Some(&last.id)).await;
    let end = until(&mut events, &mut ids, |_| false).await;
    assert!(ids.is_sorted_by(|a, b| a < b), "an event was told twice: {ids:?}");
    end.job
}

fn everyone_once(lines: &[Value]) {
    let indices: Vec<_> = lines.iter().filter_map(|l| l["index"].as_u64()).collect();
    let all: Vec<u64> = (0..ITEMS as u64).collect();
    assert_eq!(indices, all, "each item has exactly one outcome");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_worker_takes_over_and_each_item_has_one_outcome() {
    let _alone = ALONE.lock().await;
    let idle = ("VISAVIS__WORKER__MIN_IDLE_MS".to_owned(), IDLE.as_millis().to_string());
    let environment = vec![idle];
    let mut cluster = Cluster::start(ClusterOptions { nginx: false, environment, ..ClusterOptions::default() });
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let nobody = Picture::filled(160, 160, [90; 3]).png();
    drop(clients[0].create_collection("known").await);
    drop(clients[0].enrol("known", "astronaut", std::slice::from_ref(&photo)).await.expect(201));
    drop(clients[0].create_collection("staff").await);
    let consent = json!({"purposes": ["access_control"], "method": "web_form"});
    let people = (0..ITEMS).map(|i| {
        let image = encoded(if i == EMPTY { &nobody } else { &photo });
        json!({"id": format!("p{i:02}"), "consent": consent, "images": [image]})
    });
    let enrolment = submit(&clients[0], "bulk_enrol", "staff", &people.collect::<Vec<_>>()).await;
    let searches: Vec<Value> = (0..ITEMS).map(|_| json!({"images": [encoded(&photo)]})).collect();
    let identification = submit(&clients[0], "bulk_identify", "known", &searches).await;

    let mut followed =
        [Events::follow(&clients[0], &enrolment, None).await, Events::follow(&clients[0], &identification, None).await];
    let (mut ids, mut last) = ([Vec::new(), Vec::new()], Vec::new());
    for (events, ids) in followed.iter_mut().zip(&mut ids) {
        last.push(until(events, ids, |e| e.outcomes() >= 3).await);
    }
    let mut requests = JoinSet::new();
    let start = Instant::now();
    for i in 0..REQUESTS {
        let (client, photo) = (clients[i % 2].clone(), photo.clone());
        let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png");
        let request = request.header("x-deadline-ms", "60000").body(photo);
        requests.spawn(async move { ask(&client, i, request, start, start).await });
    }
    let first = requests.join_next().await.expect("requests").expect("an answer");
    block_in_place(|| cluster.worker_mut(0).kill());
    let killed = Instant::now();
    drop(followed);

    let mut outcomes = requests.join_all().await;
    outcomes.push(first);
    println!("a worker was killed: {}", Summary(&outcomes));
    assert!(outcomes.iter().all(Outcome::succeeded), "{}", Summary(&outcomes));
    let [enrolled_from, searched_from] = <[_; 2]>::try_from(last).expect("two jobs");
    let [enrolled_ids, searched_ids] = ids;
    let enrolled = to_the_end(&clients[1], &enrolment, enrolled_from, enrolled_ids).await;
    let searched = to_the_end(&clients[1], &identification, searched_from, searched_ids).await;
    println!(
        "its requests were answered within {:.1?}, its jobs done {:.1?} after",
        quantile(&outcomes, 1.0),
        killed.elapsed()
    );
    assert!(killed.elapsed() < RECOVERY, "{:?}", killed.elapsed());

    assert_eq!(enrolled["progress"], json!({"items": ITEMS, "succeeded": ITEMS - 1, "failed": 1}), "{enrolled}");
    let lines = results(&clients[0], &enrolment).await;
    everyone_once(&lines);
    for (i, line) in lines.iter().enumerate() {
        if i == EMPTY {
            assert_eq!(line["problem"]["code"], "no_face", "{line}");
        } else {
            assert_eq!(line["result"]["subject"]["id"], format!("p{i:02}"), "{line}");
        }
    }
    let expected: BTreeSet<String> = (0..ITEMS).filter(|i| *i != EMPTY).map(|i| format!("p{i:02}")).collect();
    assert_eq!(clients[0].subjects("staff").await, expected);
    let stats = clients[0].get("/v1/collections/staff/stats").await.ok();
    assert_eq!(stats["faces"], ITEMS - 1, "an item took effect twice: {stats}");
    assert_eq!(searched["progress"], json!({"items": ITEMS, "succeeded": ITEMS, "failed": 0}), "{searched}");
    let lines = results(&clients[1], &identification).await;
    everyone_once(&lines);
    let found = |l: &Value| l["result"]["results"][0]["candidates"][0]["subject_id"] == "astronaut";
    assert!(lines.iter().all(found), "a search missed somebody");
}
