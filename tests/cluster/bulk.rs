//! Bulk jobs through nginx: events pass as they come, and a cancelled job stops.

use serde_json::{Value, json};
use testkit::{Cluster, ClusterOptions, Person, Picture, encoded};

use crate::{
    ALONE,
    events::{Events, results, submit},
};

/// Items of a job.
const ITEMS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_pass_nginx_as_they_come_and_a_cancelled_job_stops() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { workers: 1, ..ClusterOptions::default() });
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    drop(client.enrol("staff", "astronaut", std::slice::from_ref(&photo)).await.expect(201));
    let searches: Vec<Value> = (0..ITEMS).map(|_| json!({"images": [encoded(&photo)]})).collect();
    let job = submit(&client, "bulk_identify", "staff", &searches).await;
    let mut events = Events::follow(&client, &job, None).await;
    loop {
        let event = events.next().await.expect("an event");
        assert_eq!(event.name, "progress", "events were held back until the end: {event:?}");
        if event.outcomes() > 0 {
            break;
        }
    }
    drop(client.delete(&job).await.expect(204));
    let end = loop {
        let event = events.next().await.expect("the end is told");
        if event.name == "done" {
            break event;
        }
    };
    assert_eq!(end.job["state"], "cancelled", "{end:?}");
    // An event source that has the end is told to stay away.
    let again = client.request("GET", &format!("{job}/events")).header("last-event-id", &end.id);
    drop(client.send(again).await.expect(204));
    let done = results(&client, &job).await.len();
    assert!(done < ITEMS, "it was too late to cancel");
    // The worker goes on to other things, and adds nothing to what was cancelled but what it was just doing.
    drop(client.identify("staff", &photo).await.ok());
    let after = results(&client, &job).await.len();
    println!("cancelled with {done} of {ITEMS} outcomes, {after} in the end");
    assert!(after <= done + 8, "work on a cancelled job went on: {done}, then {after}");
}
