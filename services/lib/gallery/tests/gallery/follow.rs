//! Galleries on a real store: read your writes, other contracts, a trimmed feed, deleted collections, bounded memory.

use std::sync::Arc;

use domain::ErrorCode;
use visavis_gallery::{Galleries, GalleryError, GalleryOptions, Index, Query};

use crate::common::{enrolled::*, *};

const KEPT: u64 = 10_000;

fn galleries(e: &Enrolled) -> Galleries {
    Galleries::new(Arc::clone(&e.store), GalleryOptions::default())
}

#[tokio::test]
async fn every_acknowledged_change_shows_in_the_next_search() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    let g = galleries(&e);
    assert!(e.faces(&g, 1).await.is_empty());

    let revision = e.enrol(1, 10, 1).await;
    let hits = e.find(&g, 1).await.unwrap();
    assert_eq!(hits[0].face_id, face_id(10));
    assert_eq!((hits[0].subject.id.clone(), hits[0].subject.external_id.as_deref()), (subject_id(1), Some("ref-s1")));
    assert!(g.current(&e.tenant, &e.collection, contract(1)).await.unwrap().revision() >= revision);

    e.enrol(1, 11, 2).await;
    e.enrol(2, 20, 3).await;
    e.delete_face(1, 10).await;
    assert!(e.faces(&g, 1).await.is_empty());
    assert_eq!(e.faces(&g, 2).await, [face_id(11)]);

    e.label(1, &[("site", "north")]).await;
    let gallery = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    let (probe, north) = (direction(2, DIM), metadata(&[("site", "north")]));
    let hits = gallery.index().search(&Query { filter: Some(&north), ..Query::new(&probe, 5) }).unwrap();
    assert_eq!((hits.hits.len(), hits.compared_rows, hits.compared_subjects), (1, 1, 1));
    assert_eq!(hits.hits[0].subject.metadata, north);

    e.delete_subject(1).await;
    assert!(e.faces(&g, 2).await.is_empty());
    assert_eq!(e.faces(&g, 3).await, [face_id(20)]);
    // The same person again.
    e.enrol(1, 12, 2).await;
    assert_eq!(e.faces(&g, 2).await, [face_id(12)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_each_see_their_own_changes() {
    let dir = tempfile::tempdir().unwrap();
    let e = Arc::new(Enrolled::new(&open(dir.path(), KEPT), "staff").await);
    let shared = Arc::new(galleries(&e));
    let mut tasks = tokio::task::JoinSet::new();
    for subject in 0..16u16 {
        let (e, shared) = (Arc::clone(&e), Arc::clone(&shared));
        tasks.spawn(async move {
            for round in 0..6u32 {
                let face = u32::from(subject) * 100 + round;
                e.enrol(subject, face, u64::from(face)).await;
                assert_eq!(e.faces(&shared, u64::from(face)).await, [face_id(face)]);
                // A gallery that is read from the store while others write to it.
                assert_eq!(e.faces(&galleries(&e), u64::from(face)).await, [face_id(face)]);
                if round % 2 == 0 {
                    e.delete_face(subject, face).await;
                    assert!(e.faces(&shared, u64::from(face)).await.is_empty());
                    assert!(e.faces(&galleries(&e), u64::from(face)).await.is_empty());
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!((shared.stats().collections, shared.stats().rows), (1, 16 * 3));
}

#[tokio::test]
async fn templates_of_another_model_are_counted_and_never_compared() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    e.enrol_template(1, 10, template(2, 1, 64)).await;
    e.enrol(2, 20, 2).await;
    let g = galleries(&e);
    let gallery = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    assert_eq!((gallery.index().len(), gallery.other_contract_rows()), (1, 1));
    assert!(e.faces(&g, 1).await.is_empty());
    let other = g.current(&e.tenant, &e.collection, contract(2)).await.unwrap();
    let refused = other.index().search(&Query::new(&direction(2, DIM), 1)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::CollectionModelMismatch);
    assert_eq!(other.index().search(&Query::new(&direction(1, 64), 1)).unwrap().hits[0].face_id, face_id(10));
    let none = g.current(&e.tenant, &e.collection, contract(3)).await.unwrap();
    assert_eq!((none.index().len(), none.other_contract_rows()), (0, 2));
}

#[tokio::test]
async fn a_trimmed_feed_means_reading_afresh() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), 3), "staff").await;
    e.enrol(1, 10, 1).await;
    let g = galleries(&e);
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
    for n in 2..12 {
        e.enrol(n, u32::from(n) * 10, u64::from(n)).await;
    }
    e.delete_subject(1).await;
    e.label(2, &[("site", "north")]).await;
    for n in 12..20 {
        e.enrol(n, u32::from(n) * 10, u64::from(n)).await;
    }
    assert!(e.faces(&g, 1).await.is_empty());
    for n in 2..20 {
        assert_eq!(e.faces(&g, n).await, [face_id(u32::try_from(n).unwrap() * 10)]);
    }
    assert_eq!(e.find(&g, 2).await.unwrap()[0].subject.metadata, metadata(&[("site", "north")]));
}

#[tokio::test]
async fn a_deleted_collection_is_gone_and_a_new_one_of_that_name_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let e = Enrolled::new(&open(dir.path(), KEPT), "staff").await;
    e.enrol(1, 10, 1).await;
    let g = galleries(&e);
    assert_eq!(e.faces(&g, 1).await, [face_id(10)]);
    let held = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
    e.delete_collection().await;
    let error = e.find(&g, 1).await.unwrap_err();
    assert!(matches!(error, GalleryError::CollectionNotFound(_)));
    assert_eq!((error.code(), g.stats()), (ErrorCode::CollectionNotFound, Default::default()));
    assert!(held.index().is_empty() && held.index().raw_values().iter().all(|v| *v == 0));
    e.create().await;
    assert!(e.faces(&g, 1).await.is_empty());
    e.delete_collection().await;
    e.create().await;
    e.enrol(2, 20, 2).await;
    assert_eq!(e.faces(&g, 2).await, [face_id(20)]);
}

#[tokio::test]
async fn beyond_the_memory_allowed_the_least_recently_searched_go_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), KEPT);
    let mut all = Vec::new();
    for (n, name) in [(1u16, "a"), (2, "b"), (3, "c")] {
        let e = Enrolled::new(&store, name).await;
        e.enrol(n, u32::from(n), u64::from(n)).await;
        all.push((e, u64::from(n), [face_id(u32::from(n))]));
    }
    let unbounded = Galleries::new(Arc::clone(&store), GalleryOptions::default());
    all[0].0.faces(&unbounded, 1).await;
    let one = unbounded.stats().bytes;
    let options = GalleryOptions { max_bytes: Some(2 * one + one / 2), ..Default::default() };
    let g = Galleries::new(store, options);
    for (e, seed, faces) in all.iter().chain(&all) {
        assert_eq!(e.faces(&g, *seed).await, *faces);
        assert!(g.stats().collections <= 2 && g.stats().bytes <= 2 * one + one / 2);
    }
    assert_eq!(g.stats().collections, 2);
}
