//! The shared engine against its server's files: what is erased is in none of them, what is acknowledged is there after
//! the server was killed.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use store::{Commit, RedisStore, RedisStoreOptions, Space, Store, StoreError};
use testkit::{RedisOptions, RedisServer};
use tokio::task::JoinSet;
use visavis_store as store;

use crate::common::*;

/// Long enough to be one thing in a file, whatever the encoding.
const LEN: usize = 600;

async fn on(server: &RedisServer) -> Arc<RedisStore> {
    Arc::new(open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap())
}

fn space(n: usize) -> Space {
    Space::tenant(&format!("t{n}").parse().unwrap())
}

fn counter(server: &RedisServer, field: &str) -> u64 {
    let info = server.command(&["INFO", "persistence"]);
    let line = info.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().parse().unwrap()
}

/// Ends when dropped: tasks that write all the time, and their number of commits.
struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
}

impl Load {
    fn start(store: &Arc<RedisStore>) -> Self {
        let load = Self { stop: Arc::default(), written: Arc::default() };
        for task in 0..3 {
            let (store, stop, written) = (Arc::clone(store), Arc::clone(&load.stop), Arc::clone(&load.written));
            tokio::spawn(async move {
                for n in 0u64.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let value = noise(1_000_000 * (task + 1) + n, LEN);
                    store.commit(&Space::system(), Commit::new().put(format!("{task}/{n}"), value)).await.unwrap();
                    written.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        load
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_value_is_in_no_file_of_the_server_once_acknowledged() {
    let server = RedisServer::start();
    let store = on(&server).await;
    let (s, dir) = (space(1), server.data_dir());
    let (first, second, kept) = (noise(1, LEN), noise(2, LEN), noise(3, LEN));
    store.commit(&s, Commit::new().put("k", first.clone()).put("kept", kept.clone())).await.unwrap();
    store.commit(&s, Commit::new().put("k", second.clone())).await.unwrap();
    let load = Load::start(&store);
    for value in [&first, &second, &kept] {
        assert!(files_with(dir, value) > 0, "the search finds values that are there");
    }
    store.commit(&s, Commit::new().erase("k").put("stone", "x")).await.unwrap();
    assert_eq!((files_with(dir, &first), files_with(dir, &second)), (0, 0));
    assert!(files_with(dir, &kept) > 0 && load.written.load(Ordering::SeqCst) > 0);
    // A value that is gone from the store already, but not from the file.
    store.commit(&s, Commit::new().put("k", first.clone())).await.unwrap();
    store.commit(&s, Commit::new().delete("k")).await.unwrap();
    assert!(files_with(dir, &first) > 0);
    store.commit(&s, Commit::new().erase("k")).await.unwrap();
    assert_eq!(files_with(dir, &first), 0);
    let writes = load.written.load(Ordering::SeqCst);
    while load.written.load(Ordering::SeqCst) == writes {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_at_once_share_rewrites() {
    let server = RedisServer::start();
    let store = on(&server).await;
    let mut tasks = JoinSet::new();
    for n in 0..60u64 {
        let (store, dir) = (Arc::clone(&store), server.data_dir().to_owned());
        tasks.spawn(async move {
            let (s, key, value) = (space(n as usize % 7), n.to_string(), noise(n, LEN));
            store.commit(&s, Commit::new().put(&key, value.clone())).await.unwrap();
            store.commit(&s, Commit::new().erase(&key)).await.unwrap();
            assert_eq!(files_with(&dir, &value), 0);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let rewrites = counter(&server, "aof_rewrites");
    assert!((1..=20).contains(&rewrites), "{rewrites} rewrites for 60 erasures");
}

#[tokio::test]
async fn a_dump_is_written_anew_as_well() {
    let dumps = ["--save", "3600", "1"].map(str::to_owned).to_vec();
    for appendfsync in [Some("always"), None] {
        let server =
            RedisServer::start_with(RedisOptions { appendfsync, arguments: dumps.clone(), ..RedisOptions::default() });
        let options = RedisStoreOptions { allow_weak_durability: true, ..RedisStoreOptions::default() };
        let store = open(&server.url(), "p", options).await.unwrap();
        let value = noise(9, LEN);
        store.commit(&space(1), Commit::new().put("k", value.clone())).await.unwrap();
        let _ = server.command(&["SAVE"]);
        assert!(std::fs::read(server.data_dir().join("dump.rdb")).is_ok_and(|d| d.windows(LEN).any(|w| w == value)));
        store.commit(&space(1), Commit::new().erase("k")).await.unwrap();
        assert_eq!(files_with(server.data_dir(), &value), 0);
    }
}

#[tokio::test]
async fn an_erasure_that_was_broken_off_is_finished_by_a_sweep() {
    let server = RedisServer::start();
    let hasty = RedisStoreOptions { erase_timeout: Duration::ZERO, ..RedisStoreOptions::default() };
    let hasty = open(&server.url(), "p", hasty).await.unwrap();
    let value = noise(4, LEN);
    hasty.commit(&space(1), Commit::new().put("k", value.clone())).await.unwrap();
    match hasty.commit(&space(1), Commit::new().erase("k")).await {
        Err(StoreError::Unavailable(why)) => assert!(why.contains("not yet erased"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(hasty.get(&space(1), "k").await.unwrap(), None);
    assert!(files_with(server.data_dir(), &value) > 0);
    let another = on(&server).await;
    another.sweep(domain::Timestamp::now()).await.unwrap();
    assert_eq!(files_with(server.data_dir(), &value), 0);
    let rewrites = counter(&server, "aof_rewrites");
    another.sweep(domain::Timestamp::now()).await.unwrap();
    assert_eq!(counter(&server, "aof_rewrites"), rewrites, "nothing is left to finish");
}

/// What was acknowledged before the server was killed.
#[derive(Default)]
struct Acknowledged {
    put: BTreeSet<(usize, u64)>,
    /// Of these the commit was sent.
    erasing: BTreeSet<(usize, u64)>,
    erased: BTreeSet<(usize, u64)>,
}

fn value(task: usize, n: u64) -> Vec<u8> {
    noise(task as u64 * 1_000_000 + n + 77, LEN)
}

/// Puts a pair of values again and again; every third pair is erased.
async fn commits(store: Arc<RedisStore>, task: usize, told: Arc<Mutex<Acknowledged>>) {
    for n in 0u64.. {
        let pair = Commit::new().put(format!("a/{n:06}"), value(task, n)).put(format!("b/{n:06}"), value(task, n));
        if store.commit(&space(task), pair).await.is_err() {
            return;
        }
        told.lock().unwrap().put.insert((task, n));
        if n % 3 == 2 {
            told.lock().unwrap().erasing.insert((task, n));
            let erase = Commit::new().erase(format!("a/{n:06}")).erase(format!("b/{n:06}"));
            if store.commit(&space(task), erase).await.is_err() {
                return;
            }
            told.lock().unwrap().erased.insert((task, n));
        }
    }
}

/// What the server's own start leaves lying about, so that whoever starts it has to remove it: the file of a rewrite
/// that was under way.
fn clear_unfinished(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("temp-") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

async fn survives(appendfsync: &'static str, acknowledged: usize) {
    let mut server =
        RedisServer::start_with(RedisOptions { appendfsync: Some(appendfsync), ..RedisOptions::default() });
    let told = Arc::new(Mutex::new(Acknowledged::default()));
    let store = on(&server).await;
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        tasks.spawn(commits(Arc::clone(&store), task, Arc::clone(&told)));
    }
    while told.lock().unwrap().put.len() < acknowledged {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.kill();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    clear_unfinished(server.data_dir());
    server.restart();
    let (store, told) = (on(&server).await, std::mem::take(&mut *told.lock().unwrap()));
    assert!(!told.erased.is_empty());
    for &(task, n) in &told.put {
        let halves = [format!("a/{n:06}"), format!("b/{n:06}")];
        let found = store.get_many(&space(task), &halves).await.unwrap();
        if told.erased.contains(&(task, n)) {
            assert_eq!(found, [None, None], "an erased pair came back");
            assert_eq!(files_with(server.data_dir(), &value(task, n)), 0);
        } else if told.erasing.contains(&(task, n)) {
            assert_eq!(found[0].is_some(), found[1].is_some(), "a commit was halved");
        } else {
            assert!(found.iter().flatten().filter(|r| r.value == value(task, n)).count() == 2, "{task}/{n} is lost");
        }
    }
    store.sweep(domain::Timestamp::now()).await.unwrap();
    for &(task, n) in &told.erasing {
        let gone = store.get(&space(task), &format!("a/{n:06}")).await.unwrap().is_none();
        assert_eq!(gone, files_with(server.data_dir(), &value(task, n)) == 0, "half erased: {task}/{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_a_kill_and_erased_values_do_not() {
    for acknowledged in [100, 300] {
        survives("always", acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_where_commits_are_waited_for() {
    survives("everysec", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_many_batches_is_erased_by_few_rewrites() {
    let server = RedisServer::start();
    let f = fixture::on(None, Arc::new(open(&server.url(), "p", RedisStoreOptions::default()).await.unwrap())).await;
    let (s, value) = (f.templates.space().clone(), noise(5, LEN));
    for batch in 0..12 {
        let many = (0..1_000).fold(Commit::new(), |c, n| c.put(format!("v/{batch}/{n}"), "v"));
        f.store.commit(&s, many.put(format!("v/{batch}/x"), value.clone())).await.unwrap();
    }
    assert!(files_with(server.data_dir(), &value) > 0);
    let before = counter(&server, "aof_rewrites");
    f.collections.delete(&f.tenant, &"staff".parse().unwrap(), None).await.unwrap();
    assert_eq!(files_with(server.data_dir(), &value), 0);
    assert_eq!(f.store.keys(&s, "", None, 9).await.unwrap().keys, Vec::<String>::new());
    let rewrites = counter(&server, "aof_rewrites") - before;
    assert!((1..=6).contains(&rewrites), "{rewrites} rewrites");
    // Neither a refused enrolment nor an empty collection costs one.
    f.collections.create(&f.tenant, &fixture::collection("staff")).await.unwrap();
    f.enrol(&fixture::enrolment("anna", 1)).await;
    f.enrol(&fixture::enrolment("anna", 1)).await;
    assert_eq!(counter(&server, "aof_rewrites") - before, rewrites);
    f.subjects.delete_subject(&fixture::id("anna"), None, fixture::NOW).await.unwrap();
    assert_eq!(counter(&server, "aof_rewrites") - before, rewrites + 1, "one for a subject with all it has");
}
