//! The embedded engine on a disk that takes no more: nothing acknowledged is lost, everything can be read, and it goes
//! on by itself when there is room. On a real file system of a few MiB, which needs root.

use std::{path::PathBuf, time::Duration};

use store::{Commit, RedbOptions, RedbStore, Space, Store, StoreError};
use testkit::SmallDisk;
use visavis_store as store;

const MIB: usize = 1 << 20;

fn value(n: usize) -> Vec<u8> {
    format!("{n};").repeat(30_000)[..60_000].into()
}

/// Writes until the disk takes no more; how many were acknowledged.
async fn fill(store: &RedbStore, from: usize) -> usize {
    for n in from.. {
        match store.commit(&Space::system(), Commit::new().put(format!("k/{n:05}"), value(n))).await {
            Ok(_) => {}
            Err(StoreError::NoRoom(_)) => return n,
            Err(e) => panic!("{e}"),
        }
        assert!(n < from + 10_000, "the disk never fills up");
    }
    from
}

/// Exactly these are there, and with their values.
async fn holds(store: &RedbStore, acknowledged: usize) {
    let page = store.scan(&Space::system(), "k/", None, 20_000).await.unwrap();
    let there: Vec<_> = page.records.iter().map(|(k, _)| k[2..].parse::<usize>().unwrap()).collect();
    assert_eq!(there, (0..acknowledged).collect::<Vec<_>>());
    assert!(page.records.iter().zip(0..).all(|((_, r), n)| r.value == value(n)));
}

fn store_on(disk: &SmallDisk, disk_reserve: u64) -> (PathBuf, RedbStore) {
    let path = disk.path().join("store");
    let options = RedbOptions { disk_reserve, cache_bytes: MIB, ..RedbOptions::default() };
    (path.clone(), RedbStore::open_with(&path, options).unwrap())
}

#[tokio::test]
async fn a_commit_is_refused_before_the_disk_is_full_and_erasing_still_works() {
    let Some(disk) = SmallDisk::mount_or_skip(48) else { return };
    let (path, store) = store_on(&disk, 8 << 20);
    let acknowledged = fill(&store, 0).await;
    assert!(acknowledged > 20, "only {acknowledged} fit");
    assert!(matches!(store.check().await, Err(StoreError::NoRoom(_))), "ready, and yet a commit was refused");
    // Somebody else takes a part of the reserve.
    disk.fill_but(5_000);
    let told = store.check().await.unwrap_err().to_string();
    assert!(told.contains("takes no more") && told.contains("bytes are free"), "{told}");
    holds(&store, acknowledged).await;
    // Removing is what makes room, so there is room for that.
    store.commit(&Space::system(), Commit::new().put("mark", "x").erase("k/00000")).await.unwrap();
    assert_eq!(store.get(&Space::system(), "k/00000").await.unwrap(), None);
    drop(store);
    let again = RedbStore::open(&path).unwrap();
    assert_eq!(again.get(&Space::system(), "k/00001").await.unwrap().unwrap().value, value(1));
}

#[tokio::test]
async fn a_disk_that_fills_up_without_warning_stops_commits_alone_and_only_while_it_is_full() {
    let Some(disk) = SmallDisk::mount_or_skip(48) else { return };
    let (path, store) = store_on(&disk, 0);
    store.commit(&Space::system(), Commit::new().put("k/00000", value(0))).await.unwrap();
    // Somebody else takes the room: the next commits meet the end of the disk in the middle of their writing.
    disk.fill_but(600);
    let acknowledged = fill(&store, 1).await;
    holds(&store, acknowledged).await;
    for _ in 0..3 {
        let refused = store.commit(&Space::system(), Commit::new().put("big", vec![7; 2 * MIB])).await;
        assert!(matches!(refused, Err(StoreError::NoRoom(_))), "{refused:?}");
        holds(&store, acknowledged).await;
        assert_eq!(store.get(&Space::system(), "big").await.unwrap(), None);
    }
    disk.empty();
    let began = std::time::Instant::now();
    while let Err(e) = store.check().await {
        assert!(began.elapsed() < Duration::from_secs(5), "{e}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let later = fill(&store, acknowledged).await;
    assert!(later > acknowledged, "nothing more was taken");
    drop(store);
    holds(&RedbStore::open(&path).unwrap(), later).await;
}

#[tokio::test]
async fn a_read_only_disk_is_told_at_the_start() {
    let Some(disk) = SmallDisk::mount_or_skip(16) else { return };
    let (path, store) = store_on(&disk, 0);
    store.commit(&Space::system(), Commit::new().put("k/00000", value(0))).await.unwrap();
    drop(store);
    disk.read_only(true);
    let told = RedbStore::open(&path).unwrap_err().to_string();
    assert!(told.contains("store cannot be opened") && told.contains("Read-only file system"), "{told}");
    disk.read_only(false);
    holds(&RedbStore::open(&path).unwrap(), 1).await;
}
