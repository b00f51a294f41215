//! An image that kills the worker that looks at it. Built with the fault that `services/worker` has for tests, workers
//! die as they would of a defect in a decoder or an engine.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use testkit::{Cluster, ClusterOptions, Person, Picture, SEALING_KEY, binary};
use tokio::task::JoinSet;

use crate::load::ALONE;

/// Neighbours of the poison.
const NEIGHBOURS: usize = 12;
/// A supervisor starts dead workers again, and the poison is delivered three times, within this time.
const LIMIT: Duration = Duration::from_secs(240);

/// `cargo test -p visavis-tests --test chaos -- --ignored --nocapture poison`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a quarter of a minute: a dead worker's jobs are taken over when its lease ends, three times"]
async fn poison_is_put_aside_after_three_deaths_and_its_neighbours_are_answered() {
    let _alone = ALONE.lock().await;
    let poison = Picture::decode(&Person::Biden.photo()).resized(163, 163).png();
    let crash = ("VISAVIS_TEST_CRASH_ON".to_owned(), hex::encode(Sha256::digest(&poison)));
    let mut cluster = Cluster::start(ClusterOptions {
        nginx: false,
        gateways: 1,
        worker_environment: vec![crash],
        gateway_environment: vec![("VISAVIS__GATEWAY__MAX_DEADLINE_MS".to_owned(), "300000".to_owned())],
        ..ClusterOptions::default()
    });
    let client = cluster.client();
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    let mut requests = JoinSet::new();
    for i in 0..=NEIGHBOURS {
        let image = if i == NEIGHBOURS / 2 { poison.clone() } else { photo.clone() };
        let request = client.request("POST", "/v1/embeddings").header("content-type", "image/png");
        let (client, request) = (client.clone(), request.header("x-deadline-ms", "240000").body(image));
        requests.spawn(async move { (i, client.send(request.timeout(LIMIT)).await) });
    }
    // As a supervisor would: whatever has died is started again.
    let (began, mut deaths) = (Instant::now(), 0);
    let mut answers = Vec::new();
    while !requests.is_empty() {
        assert!(began.elapsed() < LIMIT, "{} requests have no answer", requests.len());
        while let Some(answered) = requests.try_join_next() {
            answers.push(answered.expect("an answer"));
        }
        for i in 0..2 {
            if cluster.worker_mut(i).has_ended() {
                deaths += 1;
                tokio::task::block_in_place(|| cluster.worker_mut(i).restart());
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{deaths} deaths, everybody answered after {:.1?}", began.elapsed());
    assert_eq!(deaths, 3, "three deliveries, three deaths");
    for (i, answer) in answers {
        if i == NEIGHBOURS / 2 {
            drop(answer.expect(500).problem("inference_failed"));
        } else {
            drop(answer.expect(200));
        }
    }
    let letters = std::process::Command::new(binary())
        .args(["queue", "ls", "--lane", "interactive", "--redis", &cluster.redis().url()])
        .env("VISAVIS__SEALING__KEY", SEALING_KEY)
        .output()
        .expect("the binary runs");
    let shown = String::from_utf8_lossy(&letters.stdout);
    println!("{shown}");
    assert!(letters.status.success() && shown.contains('3'), "{shown} {}", String::from_utf8_lossy(&letters.stderr));
}
