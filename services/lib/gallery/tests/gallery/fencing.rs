//! A process that loses touch lets go of all galleries, and one that begins to hear of erasures looks after its
//! snapshots first.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use domain::ErrorCode;
use store::{
    Page, Space, Store,
    tapped::{Tap, Tapped},
};
use tokio::sync::Semaphore;
use visavis_gallery::{Galleries, GalleryError, GalleryOptions, Index, Query};

use crate::common::{enrolled::*, *};

const KEPT: u64 = 10_000;

fn galleries(store: &Arc<dyn Store>, dir: &Path) -> Arc<Galleries> {
    let options = GalleryOptions { snapshots: Some(dir.join("snapshots")), ..Default::default() };
    Arc::new(Galleries::new(Arc::clone(store), options))
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir.join("snapshots")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn what_was_let_go_of_is_overwritten_and_read_again_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    e.enrol(1, 10, 1).await;
    let g = galleries(&e.store, dir.path());
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
    g.save_all().await.unwrap();
    let held = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    g.let_go_all().await;
    assert_eq!(g.stats(), Default::default());
    assert!(held.index().is_empty() && held.index().raw_values().iter().all(|v| *v == 0));
    let probe = direction(1, DIM);
    let error = held.index().search(&Query::new(&probe, 1)).unwrap_err();
    assert!(matches!(error, GalleryError::LetGo), "no answer is better than one without the rows");
    assert_eq!(error.code(), ErrorCode::StoreUnavailable);
    assert_eq!(files(dir.path()), 1);
    e.enrol(2, 20, 2).await;
    assert_eq!((e.faces(&g, 1).await, e.faces(&g, 2).await), (vec![face_id(10)], vec![face_id(20)]));
    g.let_go_all().await;
    g.let_go_all().await;
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn searches_beside_it_answer_whole_or_not_at_all_and_saves_leave_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let e = Arc::new(Enrolled::new(&open(dir.path(), KEPT), "staff").await);
    for n in 0..400u16 {
        e.enrol(n, u32::from(n), u64::from(n)).await;
    }
    let g = galleries(&e.store, dir.path());
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for seed in [0u64, 399] {
        let (e, g, stop) = (Arc::clone(&e), Arc::clone(&g), Arc::clone(&stop));
        tasks.spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::SeqCst) || answered == 0 {
                match e.find(&g, seed).await {
                    Ok(hits) => {
                        assert_eq!(hits.len(), 1, "face {seed} was enrolled all the time");
                        answered += 1;
                    }
                    Err(error) => assert!(matches!(error, GalleryError::LetGo), "{error}"),
                }
            }
        });
    }
    let saver = {
        let (g, stop) = (Arc::clone(&g), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                g.save_all().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    for round in 0..40u16 {
        e.enrol(1_000 + round, 1_000 + u32::from(round), 1_000 + u64::from(round)).await;
        g.let_go_all().await;
        // Whatever file is there now is whole, or not taken for whole.
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("snapshots")).unwrap();
        for file in fs::read_dir(dir.path().join("snapshots")).into_iter().flatten().flatten() {
            let _ = fs::copy(file.path(), copy.path().join("snapshots").join(file.file_name()));
        }
        let again = galleries(&e.store, copy.path());
        match e.find(&again, 200).await {
            Ok(hits) => assert_eq!(hits.len(), 1, "round {round}"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(again.stats().rows, 401 + usize::from(round));
    }
    stop.store(true, Ordering::SeqCst);
    saver.await.unwrap();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Holds up pages of templates until told.
struct Gate {
    begun: Semaphore,
    open: Semaphore,
}

#[async_trait]
impl Tap for Gate {
    async fn scanned(&self, _: &Space, prefix: &str, _: &mut Page) {
        if prefix == "v/" {
            self.begun.add_permits(1);
            self.open.acquire().await.unwrap().forget();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gallery_that_was_being_read_does_not_come_to_be_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let e = Arc::new(Enrolled::new(&open(dir.path(), KEPT), "staff").await);
    e.enrol(1, 10, 1).await;
    let gate = Gate { begun: Semaphore::new(0), open: Semaphore::new(0) };
    let gate = Tapped::new(Arc::clone(&e.store), gate);
    let g = galleries(&(Arc::clone(&gate) as Arc<dyn Store>), dir.path());
    let search = tokio::spawn({
        let (e, g) = (Arc::clone(&e), Arc::clone(&g));
        async move { e.find(&g, 1).await }
    });
    gate.tap.begun.acquire().await.unwrap().forget();
    g.let_go_all().await;
    gate.tap.open.add_permits(100);
    assert!(matches!(search.await.unwrap(), Err(GalleryError::LetGo)));
    assert_eq!(g.stats(), Default::default());
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
}

#[tokio::test]
async fn snapshots_are_looked_after_before_the_first_search() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KEPT);
    let (staff, guests) = (Enrolled::new(&store, "staff").await, Enrolled::new(&store, "guests").await);
    let g = galleries(&store, dir.path());
    for (n, e) in [(1u16, &staff), (2, &guests)] {
        e.enrol(n, u32::from(n), u64::from(n)).await;
        e.enrol(n + 10, u32::from(n) + 10, u64::from(n) + 10).await;
        assert_eq!(e.faces(&g, u64::from(n)).await, [face_id(u32::from(n))]);
    }
    g.save_all().await.unwrap();
    drop(g);
    // As a process leaves behind that was killed while it wrote.
    let saved: Vec<_> = fs::read_dir(dir.path().join("snapshots")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(saved.len(), 2);
    for file in &saved {
        let bytes = fs::read(file).unwrap();
        fs::write(file.with_extension("partial"), &bytes[..bytes.len() - 50]).unwrap();
    }
    staff.delete_face(1, 1).await;
    let g = galleries(&store, dir.path());
    g.sweep_snapshots().await.unwrap();
    assert_eq!(g.stats(), Default::default(), "nothing was read into memory for it");
    let left: Vec<_> = fs::read_dir(dir.path().join("snapshots")).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(left.len(), 1, "the other collection's and nothing half written: {left:?}");
    let needle = template(1, 1, DIM).to_bytes()[16..32].to_vec();
    assert!(!fs::read(&left[0]).unwrap().windows(16).any(|w| w == needle));
    assert_eq!((staff.faces(&g, 11).await, guests.faces(&g, 2).await), (vec![face_id(11)], vec![face_id(2)]));
}

#[tokio::test]
async fn an_erasure_reaches_memory_and_snapshots_without_reading_a_gallery_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    e.enrol(1, 10, 1).await;
    e.enrol(2, 20, 2).await;
    let g = galleries(&e.store, dir.path());
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
    g.save_all().await.unwrap();
    // In memory: the row goes, and the snapshot that held it.
    let held = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    e.delete_subject(1).await;
    assert!(g.apply_erasures(&e.tenant, &e.collection).await.unwrap().is_some());
    assert_eq!((held.index().len(), files(dir.path())), (1, 0));
    g.save_all().await.unwrap();
    // Not in memory: a snapshot without erased rows stays, one with them goes, and no gallery is read.
    let other = galleries(&e.store, dir.path());
    assert_eq!(other.apply_erasures(&e.tenant, &e.collection).await.unwrap(), None);
    assert_eq!(files(dir.path()), 1);
    e.delete_subject(2).await;
    assert_eq!(other.apply_erasures(&e.tenant, &e.collection).await.unwrap(), None);
    assert_eq!((files(dir.path()), other.stats().collections), (0, 0));
}
