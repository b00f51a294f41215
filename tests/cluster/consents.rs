//! Consent on many processes: a withdrawal and the end of a consent hold on every worker at once, through whichever
//! gateway it is asked; the sweep is done by one gateway, and every worker confirms it.

use std::time::Duration;

use bytes::Bytes;
use domain::Timestamp;
use serde_json::json;
use testkit::{Cluster, ClusterOptions, Person, Picture, enrolment};
use tokio::{task::JoinSet, time::Instant};

use crate::{ALONE, decision};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn withdrawal_and_expiry_hold_on_every_worker_at_once() {
    let _alone = ALONE.lock().await;
    let every = vec![("VISAVIS__RETENTION__SWEEP_EVERY_MS".to_owned(), "1000".to_owned())];
    let options = ClusterOptions { nginx: false, gateway_environment: every, ..ClusterOptions::default() };
    let cluster = Cluster::start(options);
    let clients = [0, 1].map(|i| cluster.gateway(i).client());
    let (here, there) = (&clients[0], &clients[1]);
    let small = |photo: &Bytes| Picture::decode(photo).at_most(320).png();
    let (photo, probe) = (small(&Person::Astronaut.photo()), small(&Person::Astronaut.others()[0]));
    drop(here.create_collection("staff").await);

    // So many at once that both workers take some.
    let ask = async || {
        let mut asked = JoinSet::new();
        for n in 0..8 {
            let (client, probe) = (clients[n % 2].clone(), probe.clone());
            asked.spawn(async move { client.identify("staff", &probe).await.ok() });
        }
        asked.join_all().await
    };
    let mut body = enrolment("withdraws", std::slice::from_ref(&photo));
    let consent = here.post("/v1/collections/staff/subjects", &body).await.expect(201).json["consent_id"].clone();
    for answer in ask().await {
        assert_eq!(decision(&answer), ("match", "withdraws"));
    }
    let path = format!("/v1/consents/{}/withdraw", consent.as_str().expect("an id"));
    drop(there.post(&path, &json!({})).await.expect(200));
    for answer in ask().await {
        assert_eq!(decision(&answer), ("no_match", ""), "withdrawn and found: {answer}");
    }

    let (began, end) = (Instant::now(), Duration::from_secs(5));
    body["id"] = json!("ends");
    body["consent"]["expires_at"] = json!(Timestamp::now().plus(end));
    drop(here.post("/v1/collections/staff/subjects", &body).await.expect(201));
    let before = ask().await;
    assert!(began.elapsed() < end, "the machine is too slow for this test");
    for answer in before {
        assert_eq!(decision(&answer), ("match", "ends"));
    }
    tokio::time::sleep_until(began + end + Duration::from_millis(20)).await;
    for answer in ask().await {
        assert_eq!(decision(&answer), ("no_match", ""), "ended and found: {answer}");
    }
    for (i, worker) in cluster.workers().enumerate() {
        let done = worker.metric("visavis_jobs_total", "kind=\"identify\"").await;
        assert!(done > 0.0, "worker {i} was never asked");
    }

    let gone = async {
        while there.get("/v1/collections/staff/subjects/ends").await.status != 410 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the sweep erases it");
    // It counts what it has erased a moment after that is gone.
    let counted = async {
        loop {
            let mut erased = 0.0;
            for i in 0..2 {
                erased += cluster.gateway(i).metric("visavis_retention_erased_total", "consent_expired").await;
            }
            if erased > 0.0 {
                return erased;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let erased = tokio::time::timeout(Duration::from_secs(20), counted).await.expect("it is counted");
    assert!((erased - 1.0).abs() < f64::EPSILON, "erased once, by one of them: {erased}");
}
