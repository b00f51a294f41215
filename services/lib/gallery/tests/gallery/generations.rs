//! A face with templates of several models: each is found by its own model alone, through snapshots too, and all of them
//! go together.

use std::sync::Arc;

use domain::{ContractId, ErrorCode, FaceId, FaceTemplates, Template};
use store::{Collections, Templates};
use visavis_gallery::{Galleries, GalleryOptions, Query};

use crate::common::{enrolled::*, *};

/// Templates of one face by the models 1 and 2; each model sees it in its own way.
fn both(seed: u64) -> FaceTemplates {
    let mut face = FaceTemplates::from(template(1, seed, DIM));
    face.put(template(2, seed + 1_000, 64));
    face
}

/// Who looks like this to the model of the template.
async fn found(e: &Enrolled, g: &Galleries, probe: &Template) -> Vec<FaceId> {
    let gallery = g.current(&e.tenant, &e.collection, probe.contract()).await.unwrap();
    let scope = Query { min_score: Some(0.95), ..Query::new(&[], 5) };
    let hits = gallery.search(std::slice::from_ref(probe), scope).unwrap().remove(0).hits;
    hits.into_iter().map(|h| h.face_id).collect()
}

async fn rewrite(e: &Enrolled, change: impl Fn(&mut FaceTemplates)) {
    let templates = Templates::new(Arc::clone(&e.store), &e.tenant, &e.collection);
    let mut rows = templates.scan_templates(None, 100).await.unwrap().0;
    rows.iter_mut().for_each(|r| change(&mut r.templates));
    let version = Collections::new(Arc::clone(&e.store)).get(&e.tenant, &e.collection).await.unwrap().unwrap().version;
    assert_eq!(templates.rewrite(&rows, version).await.unwrap(), rows.len());
}

#[tokio::test]
async fn each_model_finds_its_own_templates_and_never_meets_another_ones() {
    let (dir, snapshots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let e = Enrolled::new(&open(dir.path(), 1_000), "staff").await;
    let options = GalleryOptions { snapshots: Some(snapshots.path().to_owned()), ..GalleryOptions::default() };
    let g = Galleries::new(Arc::clone(&e.store), options.clone());
    e.enrol_template(1, 10, both(1)).await;
    e.enrol(2, 20, 2).await;
    let of = |contract: u8, seed: u64| match contract {
        1 => template(1, seed, DIM),
        _ => template(2, seed + 1_000, 64),
    };
    for g in [&g, &Galleries::new(Arc::clone(&e.store), GalleryOptions::default())] {
        assert_eq!(found(&e, g, &of(1, 1)).await, [face_id(10)]);
        assert_eq!(found(&e, g, &of(2, 1)).await, [face_id(10)]);
        assert_eq!(found(&e, g, &of(1, 2)).await, [face_id(20)]);
        assert!(found(&e, g, &of(2, 2)).await.is_empty(), "not embedded by that model yet");
        // A probe of the one against the gallery of the other, even of the same length.
        let gallery = g.current(&e.tenant, &e.collection, contract(1)).await.unwrap();
        let refused = gallery.search(&[template(2, 1, DIM)], Query::new(&[], 1)).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::CollectionModelMismatch);
    }

    // The second face gets its further template while the gallery is in memory.
    rewrite(&e, |face| {
        if face.of(contract(2)).is_none() {
            face.put(of(2, 2));
        }
    })
    .await;
    assert_eq!(found(&e, &g, &of(2, 2)).await, [face_id(20)]);
    assert_eq!(found(&e, &g, &of(1, 2)).await, [face_id(20)], "and keeps the one it had");

    g.save_all().await.unwrap();
    let again = Galleries::new(Arc::clone(&e.store), options);
    for (model, seed, face) in [(1, 1, 10), (2, 1, 10), (1, 2, 20), (2, 2, 20)] {
        assert_eq!(found(&e, &again, &of(model, seed)).await, [face_id(face)], "from the snapshot");
    }
    assert_eq!(again.stats().rows, 4);

    e.delete_subject(1).await;
    assert!(found(&e, &again, &of(1, 1)).await.is_empty() && found(&e, &again, &of(2, 1)).await.is_empty());
    rewrite(&e, |face| assert!(face.keep_only(&[ContractId::from_bytes([2; 16])]))).await;
    assert!(found(&e, &again, &of(1, 2)).await.is_empty(), "the first generation is gone");
    assert_eq!(found(&e, &again, &of(2, 2)).await, [face_id(20)]);
    assert_eq!(again.stats().rows, 1);
}
