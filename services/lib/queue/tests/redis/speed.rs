//! Measures; run by hand: `cargo test -p visavis-queue --test redis -- --ignored --nocapture speed`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use testkit::RedisServer;
use tokio::task::JoinSet;
use visavis_queue::{Engine, MemoryEngine, MemoryOptions};

use crate::kit::{LANE, LONG, ROOMY, engine};

const ALONE: usize = 1500;
const CALLERS: usize = 16;
const EACH: usize = 150;

/// Takes, replies, acknowledges, as a worker does; the reply address comes first in the bytes.
async fn work(engine: Arc<dyn Engine>, name: String) {
    loop {
        for entry in engine.read(LANE, &name, 8, LONG).await.unwrap() {
            let address = entry.bytes.split(|b| *b == 0).next().unwrap();
            engine.cancelled(&["0"]).await.unwrap();
            engine.reply(std::str::from_utf8(address).unwrap(), Bytes::from_static(b"done")).await.unwrap();
            assert!(engine.ack(LANE, &entry.receipt).await.unwrap());
        }
    }
}

async fn call(engine: Arc<dyn Engine>, jobs: usize) -> Vec<Duration> {
    let mut replies = engine.open_replies().await.unwrap();
    let mut job = replies.address().as_bytes().to_vec();
    job.resize(40 << 10, 0);
    let job = Bytes::from(job);
    let mut times = Vec::with_capacity(jobs);
    for _ in 0..jobs {
        let began = Instant::now();
        engine.append(LANE, job.clone(), ROOMY).await.unwrap();
        replies.next().await.unwrap();
        times.push(began.elapsed());
    }
    times
}

#[expect(clippy::print_stdout, reason = "its result")]
async fn measure(what: &str, engine: Arc<dyn Engine>) {
    let mut workers = JoinSet::new();
    for n in 0..2 {
        workers.spawn(work(Arc::clone(&engine), format!("worker-{n}")));
    }
    call(Arc::clone(&engine), 100).await;
    let mut times = call(Arc::clone(&engine), ALONE).await;
    times.sort();
    let at = |q: usize| times[times.len() * q / 1000];
    let began = Instant::now();
    let callers: JoinSet<_> = (0..CALLERS).map(|_| call(Arc::clone(&engine), EACH)).collect();
    callers.join_all().await;
    let rate = (CALLERS * EACH) as f64 / began.elapsed().as_secs_f64();
    println!("{what}: alone p50 {:?}, p99 {:?}; {CALLERS} callers {rate:.0} round trips/s", at(500), at(990));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn speed() {
    measure("memory", Arc::new(MemoryEngine::new(MemoryOptions::default()))).await;
    for fsync in [Some("everysec"), Some("always")] {
        let options = testkit::RedisOptions { appendfsync: fsync, ..testkit::RedisOptions::default() };
        let server = RedisServer::start_with(options);
        measure(&format!("valkey, appendfsync {}", fsync.unwrap()), Arc::new(engine(&server.url()))).await;
    }
}
