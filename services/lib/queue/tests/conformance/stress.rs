//! Many gateways and workers at once, workers failing in every way that is allowed: nothing is lost, nothing is
//! answered twice.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use visavis_queue::{Consumer, ConsumerOptions, Delivery, Engine, Queue};

use crate::kit::{LANE, LONG, assert_empty, done, job};

const GATEWAYS: usize = 3;
/// A reader's patience in memory; a server's answers take longer.
pub const SHORT: Duration = Duration::from_micros(700);
/// A reader's patience with a server.
pub const LONGER: Duration = Duration::from_millis(60);
const JOBS_EACH: usize = 300;
const WORKERS: usize = 6;

pub async fn every_job_is_answered_exactly_once(e: Arc<dyn Engine>, patience: Duration) {
    let queue = Queue::new(e).lane_capacity(GATEWAYS * JOBS_EACH);
    let mut workers = JoinSet::new();
    for seed in 0..WORKERS {
        // Counted deliveries of one job may add up here; giving up is another rule's matter. Looks for abandoned
        // entries are frequent, and must find none: the idle time is longer than any stall of this machine.
        let options = ConsumerOptions::default().max_deliveries(u32::MAX).reclaim_every(Duration::from_millis(10));
        workers.spawn(work(queue.consumer(LANE, options), seed, patience));
    }
    let mut gateways = JoinSet::new();
    for _ in 0..GATEWAYS {
        gateways.spawn(gateway(queue.clone()));
    }
    timeout(LONG, gateways.join_all()).await.expect("every gateway gets its answers");
    // The last acknowledgement follows its reply.
    while queue.depth(LANE).await.unwrap().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    workers.shutdown().await;
    assert_empty(&queue).await;
    assert!(queue.dead_letters(LANE, 9).await.unwrap().is_empty());
}

async fn gateway(queue: Queue) {
    let mut replies = queue.open_replies().await.unwrap();
    let mut waiting = HashSet::new();
    for _ in 0..JOBS_EACH {
        let job = job(replies.address());
        queue.submit(LANE, &job).await.unwrap();
        waiting.insert(job.job_id);
    }
    while !waiting.is_empty() {
        let reply = replies.next().await.unwrap();
        assert!(waiting.remove(&reply.job_id), "answered twice, or another gateway's");
    }
    assert!(timeout(Duration::from_millis(100), replies.next()).await.is_err(), "answered twice");
}

/// Takes jobs; settles most, drops, releases or abandons the rest. Gives up waiting now and then.
async fn work(consumer: Consumer, seed: usize, patience: Duration) {
    let mut n = seed;
    loop {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let roll = n >> 33;
        // A wait cut short must not lose what was about to be read.
        let Ok(got) = timeout(patience * (roll % 100) as u32 / 100, consumer.next(1 + roll % 7)).await else {
            continue;
        };
        for (i, delivery) in got.unwrap().into_iter().enumerate() {
            treat(delivery, (roll >> 8) + i).await;
        }
    }
}

async fn treat(delivery: Delivery, roll: usize) {
    match roll % 10 {
        0 => drop(delivery),
        1 => delivery.release().await,
        2 => {
            tokio::task::yield_now().await;
            drop(delivery);
        }
        _ => {
            let reply = done(&delivery.envelope);
            delivery.settle(&reply).await.unwrap();
        }
    }
}
