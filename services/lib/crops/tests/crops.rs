//! Crops with a real store and real files: sealed where they lie, gone with whom they are of, and never left for good by
//! what was broken off.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod kit;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use crops::{CropsError, Whose};
use domain::{RetainCrops, Timestamp};
use memchr::memmem;
use seal::DataKey;
use store::{CropOf, Store, tapped::Tapped};

use kit::{Hesitant, Kit, PICTURE, id, open_at, sealed};
use visavis_crops as crops;

#[tokio::test]
async fn a_crop_is_sealed_bound_to_its_face_and_opens_with_its_record_alone() {
    let kit = Kit::new().await;
    let face = kit.enrol("anna", &kit.consent("anna", true, None)).await;
    let of = CropOf { handle: kit.handle("anna"), face: &face };
    let (record, png) = kit.crops.read(kit.at(), of).await.unwrap().unwrap();
    assert_eq!((&png[..], record.side, record.margin, &*record.alignment), (PICTURE, 112, 36, "arcface_112"));

    let files = kit.files();
    assert_eq!(files.len(), 1);
    let bytes = std::fs::read(&files[0]).unwrap();
    assert_eq!(bytes.len() as u64, record.size);
    for part in PICTURE.chunks(8) {
        assert!(memmem::find(&bytes, part).is_none(), "a part of the picture lies in its object");
    }
    assert!(!files[0].to_string_lossy().contains("anna"), "a name is in a name");
    assert!(!format!("{record:?} {:?}", kit.crops).contains(&record.key), "keys do not appear in logs");

    // Under another face's name the same bytes are nothing, whoever has the key.
    let other = kit.enrol("bert", &kit.consent("bert", true, None)).await;
    let elsewhere = kit.file(&kit.handle("bert").to_string());
    std::fs::copy(&files[0], &elsewhere).unwrap();
    let read = kit.crops.read(kit.at(), CropOf { handle: kit.handle("bert"), face: &other }).await;
    assert!(matches!(read, Err(CropsError::Seal(_))), "{read:?}");
}

#[tokio::test]
async fn erasing_a_subject_destroys_the_key_at_once_and_the_object_before_the_acknowledgement() {
    let kit = Kit::new().await;
    let face = kit.enrol("anna", &kit.consent("anna", true, None)).await;
    let kept = kit.enrol("bert", &kit.consent("bert", true, None)).await;
    let (anna, bert) = (kit.handle("anna"), kit.handle("bert"));
    let copy = std::fs::read(kit.file(&anna.to_string())).unwrap();
    let before = kit.records().get(CropOf { handle: anna, face: &face }).await.unwrap().unwrap().value;
    kit.subjects.delete_subject(&id("anna"), None, Timestamp::now()).await.unwrap();
    assert!(kit.records().get(CropOf { handle: anna, face: &face }).await.unwrap().is_none());
    assert_eq!(kit.crops.left(kit.at(), Whose::Subject(anna)).await.unwrap(), 1, "not before its object is deleted");

    assert_eq!(kit.crops.erase(kit.at(), Whose::Subject(anna)).await.unwrap(), 1);
    assert_eq!(kit.crops.erase(kit.at(), Whose::Subject(anna)).await.unwrap(), 0, "nothing to repeat");
    assert_eq!(kit.crops.left(kit.at(), Whose::Everybody).await.unwrap(), 0);
    assert_eq!(kit.files().len(), 1, "the other one stays");
    assert!(kit.crops.read(kit.at(), CropOf { handle: bert, face: &kept }).await.unwrap().is_some());

    // A copy made before: only the key that was in the record opens it, and no file of the store holds that any more.
    let key = DataKey::from_bytes(&hex::decode(&before.key).unwrap()).unwrap();
    let context = seal::context(&["crop", "acme", "staff", &anna.to_string(), face.as_str()]);
    assert_eq!(key.open(&context, &copy).unwrap(), PICTURE);
    for file in kit.all_files() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(memmem::find(&bytes, before.key.as_bytes()).is_none(), "the key is in {}", file.display());
    }
}

#[tokio::test]
async fn a_face_goes_alone_and_a_collection_whole() {
    let kit = Kit::new().await;
    let consent = kit.consent("anna", true, None);
    let (first, second) = (kit.enrol("anna", &consent).await, kit.add("anna", &consent).await);
    let anna = kit.handle("anna");
    kit.subjects.delete_face(&id("anna"), &first, None).await.unwrap();
    let of = CropOf { handle: anna, face: &first };
    assert_eq!(kit.crops.erase(kit.at(), Whose::Face(of)).await.unwrap(), 1);
    assert!(kit.crops.read(kit.at(), CropOf { handle: anna, face: &second }).await.unwrap().is_some());
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 1);

    kit.collections.delete(&kit.tenant, &kit.collection, None).await.unwrap();
    assert_eq!(kit.crops.erase(kit.at(), Whose::Everybody).await.unwrap(), 1);
    assert_eq!((kit.files().len(), kit.crops.count(kit.at()).await.unwrap()), (0, 0));
}

#[tokio::test]
async fn withdrawing_the_permission_to_train_takes_the_crops_and_leaves_the_faces() {
    let kit = Kit::new().await;
    let (trains, permits) = (kit.consent("anna", true, None), kit.consent("anna", false, None));
    kit.enrol("anna", &trains).await;
    kit.subjects.record_consent(&permits).await.unwrap();
    let done = kit.consents.withdraw(&trains.id, Timestamp::now()).await.unwrap();
    assert_eq!((done.faces_erased, kit.subjects.faces(&id("anna")).await.unwrap().len()), (0, 1));
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 0);
    assert_eq!(kit.crops.erase(kit.at(), Whose::Subject(kit.handle("anna"))).await.unwrap(), 1);

    // With another that allows it as well, they stay.
    let (one, two) = (kit.consent("bert", true, None), kit.consent("bert", true, None));
    kit.enrol("bert", &one).await;
    kit.subjects.record_consent(&two).await.unwrap();
    kit.consents.withdraw(&one.id, Timestamp::now()).await.unwrap();
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 1);
    kit.consents.withdraw(&two.id, Timestamp::now()).await.unwrap();
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_sweep_takes_what_an_enrolment_left_that_died_before_its_commit() {
    let kit = Kit::new().await;
    kit.enrol("anna", &kit.consent("anna", true, None)).await;
    let (record, face) = kit.keep("bert").await;
    drop(record);
    assert_eq!(kit.files().len(), 2);
    let swept = kit.crops.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!((swept.looked_at, swept.deleted), (2, 0), "it may be under way");
    let swept = kit.crops.sweep(Duration::ZERO).await.unwrap();
    assert_eq!((swept.looked_at, swept.deleted, swept.foreign), (2, 1, 0));
    assert_eq!(kit.files().len(), 1, "the one that has a record stays");

    // One that was refused is taken back without waiting for a sweep.
    let _again = kit.keep("bert").await;
    assert_eq!(kit.files().len(), 2);
    let second = kit.keep("bert").await.1;
    let faces = [(kit.handle("bert"), face), (kit.handle("bert"), second)];
    kit.crops.take_back(kit.at(), &faces).await.unwrap();
    assert_eq!(kit.files().len(), 2, "the enrolled one, and the one not named");
}

#[tokio::test]
async fn a_crop_goes_when_its_consent_ends_or_its_collection_keeps_none() {
    let kit = Kit::new().await;
    let until = Timestamp::now().plus(Duration::from_secs(3600));
    kit.enrol("anna", &kit.consent("anna", true, Some(until))).await;
    kit.enrol("bert", &kit.consent("bert", true, None)).await;
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 2);
    kit.store.sweep(until.plus(Duration::from_secs(1))).await.unwrap();
    assert_eq!(kit.crops.count(kit.at()).await.unwrap(), 1, "its record goes by itself");
    assert_eq!(kit.crops.sweep(Duration::ZERO).await.unwrap().deleted, 1);

    kit.policy(RetainCrops::None).await;
    assert_eq!(kit.crops.sweep(Duration::ZERO).await.unwrap().deleted, 1, "nor what came while the policy changed");
    assert_eq!((kit.files().len(), kit.crops.count(kit.at()).await.unwrap()), (0, 0));
    kit.policy(RetainCrops::Training).await;
    kit.enrol("cleo", &kit.consent("cleo", true, None)).await;
    assert_eq!(kit.crops.drop_all(kit.at()).await.unwrap(), 1);
    assert_eq!((kit.files().len(), kit.crops.count(kit.at()).await.unwrap()), (0, 0));
}

#[tokio::test]
async fn only_a_consent_that_allows_training_keeps_a_crop() {
    let kit = Kit::new().await;
    let (yes, no) = (kit.consent("anna", true, None), kit.consent("anna", false, None));
    assert!(RetainCrops::Training.allows(&yes).is_some());
    assert!(RetainCrops::Training.allows(&no).is_none());
    assert!(RetainCrops::None.allows(&yes).is_none());
}

#[tokio::test]
async fn a_place_that_is_not_this_stores_is_refused() {
    let kit = Kit::new().await;
    kit.enrol("anna", &kit.consent("anna", true, None)).await;
    let other = tempfile::tempdir().unwrap();
    let refused = kit.open_at(other.path()).await;
    assert!(matches!(refused, Err(CropsError::Elsewhere(_))), "an empty folder: {refused:?}");
    let stranger = Kit::new().await;
    let refused = kit.open_at(&stranger.objects()).await;
    assert!(matches!(refused, Err(CropsError::Elsewhere(_))), "another store's: {refused:?}");
    assert!(kit.open_at(&kit.objects()).await.is_ok(), "its own, again");
}

#[tokio::test]
async fn of_processes_that_begin_together_one_marks_the_place() {
    let (folder, store) = sealed().await;
    let (own, mistaken) = (folder.path().join("objects"), folder.path().join("mistaken"));
    // Both may be told to come again while the other is about to write; one of the places is refused in the end.
    let settled = async |folder: &std::path::Path| loop {
        match open_at(&store, folder).await {
            Err(CropsError::Beginning) => tokio::task::yield_now().await,
            done => return done,
        }
    };
    let opened = tokio::join!(settled(&own), settled(&mistaken), settled(&own), settled(&mistaken));
    let fine = [opened.0.is_ok(), opened.1.is_ok(), opened.2.is_ok(), opened.3.is_ok()];
    assert!(fine == [true, false, true, false] || fine == [false, true, false, true], "{fine:?}");
}

/// As on a first installation, where all gateways and workers start at once.
#[tokio::test]
async fn a_process_that_another_overtakes_while_it_begins_takes_the_place_for_its_own() {
    let (folder, store) = sealed().await;
    let place = folder.path().join("objects");
    let hesitant = Hesitant { store: store.clone(), place: place.clone(), overtaken: AtomicBool::new(false) };
    let store: Arc<dyn Store> = Tapped::new(store, hesitant);
    let opened = loop {
        match open_at(&store, &place).await {
            Err(CropsError::Beginning) => {}
            done => break done,
        }
    };
    assert!(opened.is_ok(), "{opened:?}");
}
