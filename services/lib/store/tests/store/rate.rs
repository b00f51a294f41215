//! How many commits and erasures a second the engines take, on this machine. Run by hand:
//! `cargo test --workspace --test store -- --ignored --nocapture rate`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use testkit::RedisServer;
use tokio::task::JoinSet;
use visavis_store::{Commit, RedbStore, RedisStoreOptions, Space, Store};

use crate::common::*;

/// Long enough for a steady rate.
const SPAN: Duration = Duration::from_secs(4);

/// What an enrolment writes, roughly: four records, one of them a template of 512 values.
fn enrolment(task: usize, n: usize) -> Commit {
    (0..4).fold(Commit::new(), |c, i| c.put(format!("{i}/{task}/{n:08}"), vec![7; 1_040]))
}

async fn rate(name: &str, store: Arc<dyn Store>) {
    for tasks in [1usize, 16, 64] {
        let began = Instant::now();
        let mut running = JoinSet::new();
        for task in 0..tasks {
            let store = Arc::clone(&store);
            running.spawn(async move {
                let mut n = 0;
                while began.elapsed() < SPAN {
                    store.commit(&Space::system(), enrolment(task + 100 * tasks, n)).await.unwrap();
                    n += 1;
                }
                n
            });
        }
        let commits: usize = running.join_all().await.into_iter().sum();
        eprintln!("{name}, {tasks} at once: {:.0} commits/s", commits as f64 / began.elapsed().as_secs_f64());
    }
    let mut took = Vec::new();
    for n in 0..20 {
        let began = Instant::now();
        store.commit(&Space::system(), Commit::new().erase(format!("0/100/{n:08}"))).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let keys = store.keys(&Space::system(), "0/", None, 1_000_000).await.unwrap().keys.len() * 4;
    eprintln!("{name}, erasing one of {keys} records: median {:?}, worst {:?}", took[10], took[19]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commits_and_erasures() {
    let dir = tempfile::tempdir().unwrap();
    rate("redb", Arc::new(RedbStore::open(&dir.path().join("store")).unwrap())).await;
    for server in [RedisServer::start(), every_second()] {
        let store = open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap();
        let name = store.durability_detail();
        rate(&name, Arc::new(store)).await;
    }
}
