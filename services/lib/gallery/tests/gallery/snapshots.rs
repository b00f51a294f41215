//! Snapshots: a restart starts from one, a bad one is ignored, and erased rows do not survive in one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use seal::Keyring;
use store::{
    Page, Space, Store,
    tapped::{Tap, Tapped},
};
use visavis_gallery::{Galleries, GalleryOptions};

use crate::common::{enrolled::*, *};

const KEPT: u64 = 10_000;

/// Counts the pages of templates read.
#[derive(Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl Tap for Counting {
    async fn scanned(&self, _: &Space, prefix: &str, _: &mut Page) {
        self.0.fetch_add(usize::from(prefix == "v/"), Ordering::SeqCst);
    }
}

fn galleries(e: &Enrolled, dir: &Path) -> Galleries {
    Galleries::new(
        Arc::clone(&e.store),
        GalleryOptions { snapshots: Some(dir.join("snapshots")), ..Default::default() },
    )
}

/// Galleries as after a restart, and how many pages of templates they read from the store to find `seed`.
async fn restarted(e: &Enrolled, dir: &Path, seed: u64) -> (Vec<domain::FaceId>, usize) {
    let counting = Tapped::new(Arc::clone(&e.store), Counting::default());
    let options = GalleryOptions { snapshots: Some(dir.join("snapshots")), ..Default::default() };
    let g = Galleries::new(Arc::clone(&counting) as Arc<dyn Store>, options);
    (e.faces(&g, seed).await, counting.tap.0.load(Ordering::SeqCst))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("snapshots")) else { return Vec::new() };
    entries.map(|e| e.unwrap().path()).collect()
}

/// Whether any file holds the template of `seed`.
fn on_disk(dir: &Path, seed: u64) -> bool {
    let needle = template(1, seed, DIM).to_bytes()[16..32].to_vec();
    files(dir).iter().any(|f| fs::read(f).unwrap().windows(16).any(|w| w == needle))
}

/// Ten subjects, subject n looking like n, and a snapshot of them.
async fn saved(dir: &Path, feed_kept: u64) -> Enrolled {
    let e = Enrolled::new(&open(dir, feed_kept), "staff").await;
    for n in 0..10u16 {
        e.enrol(n, u32::from(n), u64::from(n)).await;
    }
    let g = galleries(&e, dir);
    assert_eq!(e.faces(&g, 3).await, [face_id(3)]);
    g.save_all().await.unwrap();
    assert_eq!(files(dir).len(), 1);
    e
}

#[tokio::test]
async fn a_restart_reads_the_snapshot_and_then_the_feed() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), KEPT).await;
    assert_eq!(restarted(&e, dir.path(), 3).await, (vec![face_id(3)], 0));
    e.enrol(20, 20, 20).await;
    e.label(3, &[("site", "north")]).await;
    assert_eq!(restarted(&e, dir.path(), 20).await, (vec![face_id(20)], 0));
    let found = e.find(&galleries(&e, dir.path()), 3).await.unwrap();
    assert_eq!(found[0].subject.metadata, metadata(&[("site", "north")]));
    #[cfg(unix)]
    for file in files(dir.path()) {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_ignored_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), KEPT).await;
    let file = files(dir.path()).remove(0);
    let good = fs::read(&file).unwrap();
    let flip = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let middle = good.len() / 2;
    let damaged: Vec<Vec<u8>> =
        [0, 7, 8, 20, 49, 60, middle, middle + 1, good.len() - 40, good.len() - 1].into_iter().map(flip).collect();
    let cut = [0, 5, 50, middle, good.len() - 1].into_iter().map(|n| good[..n].to_vec());
    for bytes in damaged.into_iter().chain(cut) {
        fs::write(&file, bytes).unwrap();
        assert_eq!(restarted(&e, dir.path(), 3).await, (vec![face_id(3)], 1));
        assert!(files(dir.path()).is_empty());
    }
    fs::write(&file, good).unwrap();
    assert_eq!(restarted(&e, dir.path(), 3).await, (vec![face_id(3)], 0), "undamaged it is good");
}

/// Galleries as after a restart, with this key.
async fn restarted_with(e: &Enrolled, dir: &Path, keyring: Option<&Arc<Keyring>>) -> (Vec<domain::FaceId>, usize) {
    let counting = Tapped::new(Arc::clone(&e.store), Counting::default());
    let options = sealing(dir, keyring);
    let g = Galleries::new(Arc::clone(&counting) as Arc<dyn Store>, options);
    let found = e.faces(&g, 3).await;
    g.save_all().await.unwrap();
    (found, counting.tap.0.load(Ordering::SeqCst))
}

fn sealing(dir: &Path, keyring: Option<&Arc<Keyring>>) -> GalleryOptions {
    GalleryOptions { snapshots: Some(dir.join("snapshots")), keyring: keyring.cloned(), ..Default::default() }
}

fn ring(n: u8) -> Arc<Keyring> {
    Arc::new(Keyring::parse(&format!("{n:02x}").repeat(32)).unwrap())
}

#[tokio::test]
async fn a_sealed_snapshot_serves_a_restart_and_shows_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), KEPT).await;
    assert!(on_disk(dir.path(), 3), "one that is not sealed shows its rows");
    // Not taken by who has a key, and replaced by one that is sealed.
    let (ours, theirs) = (ring(1), ring(2));
    assert_eq!(restarted_with(&e, dir.path(), Some(&ours)).await, (vec![face_id(3)], 1));
    assert!(files(dir.path()).len() == 1 && (0..10).all(|n| !on_disk(dir.path(), n)));
    assert_eq!(restarted_with(&e, dir.path(), Some(&ours)).await, (vec![face_id(3)], 0));
    // With another key, or none, it is read afresh from the store, and taken over.
    assert_eq!(restarted_with(&e, dir.path(), Some(&theirs)).await, (vec![face_id(3)], 1));
    assert_eq!(restarted_with(&e, dir.path(), Some(&theirs)).await, (vec![face_id(3)], 0));
    assert_eq!(restarted_with(&e, dir.path(), None).await, (vec![face_id(3)], 1));
    // Nor is it good under another collection's name.
    restarted_with(&e, dir.path(), Some(&ours)).await;
    let g = Galleries::new(Arc::clone(&e.store), sealing(dir.path(), Some(&ours)));
    let file = files(dir.path()).remove(0);
    fs::rename(&file, file.with_file_name("0".repeat(32)).with_extension("gallery")).unwrap();
    g.sweep_snapshots().await.unwrap();
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_damaged_sealed_snapshot_is_ignored_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (e, key) = (saved(dir.path(), KEPT).await, ring(1));
    restarted_with(&e, dir.path(), Some(&key)).await;
    let file = files(dir.path()).remove(0);
    let good = fs::read(&file).unwrap();
    let serves = async |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        restarted_with(&e, dir.path(), Some(&key)).await
    };
    for at in [0, 7, 8, 20, 110, 140, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        assert_eq!(serves(&bytes).await, (vec![face_id(3)], 1), "changed at {at}");
        assert_eq!(serves(&good[..at]).await, (vec![face_id(3)], 1), "cut at {at}");
    }
    assert_eq!(serves(&good).await, (vec![face_id(3)], 0), "undamaged it is good");
}

#[tokio::test]
async fn a_snapshot_older_than_the_feed_is_ignored_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), 3).await;
    for n in 20..30u16 {
        e.enrol(n, u32::from(n), u64::from(n)).await;
    }
    assert_eq!(restarted(&e, dir.path(), 25).await, (vec![face_id(25)], 1));
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_snapshot_of_another_history_of_the_store_is_ignored() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    saved(dir.path(), KEPT).await;
    // The same number of commits and more, to a collection of the same name, of other people.
    let e = Enrolled::new(&open(other.path(), KEPT), "staff").await;
    for n in 0..12u16 {
        e.enrol(n, 100 + u32::from(n), 100 + u64::from(n)).await;
    }
    fs::create_dir(other.path().join("snapshots")).unwrap();
    let file = files(dir.path()).remove(0);
    fs::copy(&file, other.path().join("snapshots").join(file.file_name().unwrap())).unwrap();
    assert_eq!(restarted(&e, other.path(), 3).await, (vec![], 1));
}

#[tokio::test]
async fn an_erasure_takes_the_snapshot_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), KEPT).await;
    let g = galleries(&e, dir.path());
    e.faces(&g, 3).await;
    assert!(on_disk(dir.path(), 3) && on_disk(dir.path(), 4), "the search for bytes finds rows that are there");
    // Another name for the same bytes shows that they were overwritten before they were unlinked.
    let witness = dir.path().join("witness");
    fs::hard_link(&files(dir.path())[0], &witness).unwrap();
    e.delete_face(3, 3).await;
    assert!(e.faces(&g, 3).await.is_empty());
    assert!(files(dir.path()).is_empty());
    assert!(fs::read(&witness).unwrap().iter().all(|b| *b == 0));
    g.maintain().await.unwrap();
    assert!(on_disk(dir.path(), 4) && !on_disk(dir.path(), 3));
    e.delete_subject(4).await;
    assert!(e.faces(&g, 4).await.is_empty());
    assert!(!on_disk(dir.path(), 4));
    g.save_all().await.unwrap();
    e.delete_collection().await;
    e.find(&g, 5).await.unwrap_err();
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn upkeep_erases_from_snapshots_nobody_has_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let e = saved(dir.path(), KEPT).await;
    let g = galleries(&e, dir.path());
    g.maintain().await.unwrap();
    assert_eq!(files(dir.path()).len(), 1, "nothing was erased");
    e.delete_subject(3).await;
    g.maintain().await.unwrap();
    assert!(files(dir.path()).is_empty());
    assert!(e.faces(&g, 3).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn saving_beside_erasures_never_leaves_an_erased_row() {
    let dir = tempfile::tempdir().unwrap();
    let e = Arc::new(saved(dir.path(), KEPT).await);
    let g = Arc::new(galleries(&e, dir.path()));
    for n in 100..300u16 {
        e.enrol(n, u32::from(n), u64::from(n)).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let saver = tokio::spawn({
        let (g, stop) = (Arc::clone(&g), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::SeqCst) {
                g.save_all().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    for n in 100..140u16 {
        e.delete_subject(n).await;
        assert!(e.faces(&g, u64::from(n)).await.is_empty());
        // A file under way may come and go while it is looked for; none may hold the row.
        let needle = template(1, u64::from(n), DIM).to_bytes()[16..32].to_vec();
        for file in files(dir.path()) {
            let Ok(bytes) = fs::read(file) else { continue };
            assert!(!bytes.windows(16).any(|w| w == needle), "row {n} is still in a snapshot");
        }
    }
    stop.store(true, Ordering::SeqCst);
    saver.await.unwrap();
    assert!((100..140).all(|n| !on_disk(dir.path(), n)) && e.faces(&g, 200).await == [face_id(200)]);
}
