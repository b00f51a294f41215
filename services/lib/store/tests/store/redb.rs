//! The embedded engine against the conformance suite, and what its files promise.

use std::{path::Path, sync::Arc};

use store::{Commit, RedbOptions, RedbStore, Space, Store, StoreError};
use tempfile::TempDir;
use visavis_store as store;

use crate::common::sweeps_and_tells;

fn options() -> RedbOptions {
    RedbOptions { feed_kept: 50, queue: 4, ..RedbOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_every_promise_of_the_trait() {
    let dir = TempDir::new().unwrap();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let make = async || {
        let n = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let store = RedbStore::open_with(&dir.path().join(n.to_string()), options()).unwrap();
        Arc::new(store) as Arc<dyn Store>
    };
    store::conformance::run(make, 50).await;
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_store_is_in_use() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let first = RedbStore::open(&path).unwrap();
    match RedbStore::open(&path) {
        Err(StoreError::Unavailable(reason)) => assert!(reason.contains("in use by another process"), "{reason}"),
        other => panic!("{other:?}"),
    }
    first.commit(&Space::system(), Commit::new().put("k", "v")).await.unwrap();
    drop(first);
    let again = RedbStore::open(&path).unwrap();
    assert_eq!(again.get(&Space::system(), "k").await.unwrap().unwrap().value, "v");
}

#[tokio::test]
async fn records_without_their_keys_or_with_anothers_are_refused() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for path in [&a, &b] {
        let store = RedbStore::open(path).unwrap();
        store.commit(&Space::system(), Commit::new().put("k", "v")).await.unwrap();
    }
    let refused = |path: &Path, expected: &str| match RedbStore::open(path) {
        Err(StoreError::Unavailable(reason)) => assert!(reason.contains(expected), "{reason}"),
        other => panic!("{other:?}"),
    };
    std::fs::copy(dir.path().join("a.keys"), dir.path().join("b.keys")).unwrap();
    refused(&b, "does not hold this store's keys");
    std::fs::rename(&b, dir.path().join("mislaid")).unwrap();
    refused(&b, "whose records are missing");
    std::fs::remove_file(dir.path().join("a.keys")).unwrap();
    refused(&a, "are missing");
    refused(&dir.path().join("no/such/folder"), "cannot be opened");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let _store = RedbStore::open(&path).unwrap();
    for name in ["store", "store.keys"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_sweep_erases_what_expired_and_tells_followers() {
    let dir = TempDir::new().unwrap();
    let store = RedbStore::open(&dir.path().join("store")).unwrap();
    sweeps_and_tells(&store).await;
}

#[tokio::test]
async fn oversized_values_are_refused_and_harm_nothing() {
    let dir = TempDir::new().unwrap();
    let store = RedbStore::open(&dir.path().join("store")).unwrap();
    let s = Space::system();
    store.commit(&s, Commit::new().put("k".repeat(70_000), "v")).await.unwrap_err();
    let large = vec![7; 40 << 20];
    store.commit(&s, Commit::new().put("large", large.clone())).await.unwrap();
    assert_eq!(store.get(&s, "large").await.unwrap().unwrap().value, large);
    assert!(store.check().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_always_find_a_record_that_is_being_overwritten() {
    let dir = TempDir::new().unwrap();
    let store = Arc::new(RedbStore::open(&dir.path().join("store")).unwrap());
    let s = Space::system();
    let all = |n: u32| (0..20).fold(Commit::new(), |c, i| c.put(format!("k{i:02}"), format!("{i} {n}")));
    store.commit(&s, all(0)).await.unwrap();
    let writer = tokio::spawn({
        let (store, s) = (store.clone(), s.clone());
        async move {
            for n in 1..300 {
                store.commit(&s, all(n)).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let page = store.scan(&s, "k", None, 100).await.unwrap();
        assert_eq!(page.records.len(), 20);
        assert!(page.records.iter().enumerate().all(|(i, (_, r))| r.value.starts_with(format!("{i} ").as_bytes())));
        assert!(store.get(&s, "k07").await.unwrap().is_some());
    }
    writer.await.unwrap();
}

/// `cargo test --release --workspace --test store -- --ignored --nocapture redb::measure`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let store = Arc::new(RedbStore::open(&path).unwrap());
    let s = Space::system();
    let enrolment = |n: u32| (0..4).fold(Commit::new(), |c, i| c.put(format!("{i}/{n:08}"), vec![7; 1_040]));
    for tasks in [1, 16] {
        let began = std::time::Instant::now();
        let run = |t: u32| {
            let (store, s) = (store.clone(), s.clone());
            async move {
                for n in 0..1_600 / tasks {
                    store.commit(&s, enrolment(tasks * 100_000 + t * 10_000 + n)).await.unwrap();
                }
            }
        };
        let running: Vec<_> = (0..tasks).map(|t| tokio::spawn(run(t))).collect();
        for r in running {
            r.await.unwrap();
        }
        println!("{tasks} at once: {:.0} commits/s", 1_600.0 / began.elapsed().as_secs_f64());
    }
    for goal in [100u64 << 20, 1 << 30] {
        let mut n = u32::try_from(goal >> 20).unwrap() * 1_000_000;
        while std::fs::metadata(&path).unwrap().len() < goal {
            store
                .commit(&s, (0..500).fold(Commit::new(), |c, i| c.put(format!("5/{n}/{i}"), vec![7; 1_040])))
                .await
                .unwrap();
            n += 1;
        }
        let mut took: Vec<_> = Vec::new();
        for n in 0..50 {
            let began = std::time::Instant::now();
            let key = goal * 1_000 + n;
            store.commit(&s, Commit::new().erase(format!("2/{:08}", 100_000 + key % 1_500))).await.unwrap();
            took.push(began.elapsed());
        }
        took.sort_unstable();
        let size = std::fs::metadata(&path).unwrap().len() >> 20;
        println!("erasing one value of {size} MiB: median {:?}, worst {:?}", took[25], took[49]);
    }
    let (began, mut rows, mut after) = (std::time::Instant::now(), 0, None::<String>);
    loop {
        let page = store.scan(&s, "5/", after.as_deref(), 10_000).await.unwrap();
        rows += page.records.len();
        after = page.records.into_iter().next_back().map(|(k, _)| k);
        if !page.more {
            break;
        }
    }
    println!("scan: {:.0} records/s", rows as f64 / began.elapsed().as_secs_f64());
    // As a crash would leave the files: still open when they are copied.
    let crashed = dir.path().join("crashed");
    std::fs::copy(&path, &crashed).unwrap();
    std::fs::copy(dir.path().join("store.keys"), dir.path().join("crashed.keys")).unwrap();
    drop(store);
    for (path, how) in [(path, "a clean stop"), (crashed, "a crash")] {
        let began = std::time::Instant::now();
        let _store = RedbStore::open(&path).unwrap();
        println!("opening after {how}: {:?}", began.elapsed());
    }
}
