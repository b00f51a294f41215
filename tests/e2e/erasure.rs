//! Deleting takes the bytes as well: the template and the subject's name are in no file of the data directory, and
//! what the store's file still holds of them cannot be opened any more.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{CollectionId, TenantId};
use memchr::memmem;
use seal::Keyring;
use serde_json::{Value, json};
use store::{RedbStore, SealedStore, Store, Templates};
use tempfile::TempDir;
use testkit::{Client, Person, TestApp, enrolment};

use crate::{decision, embedding_of};

const NAME: &str = "zq7-subject-to-be-forgotten";
const NOTE: &str = "zq8-note-to-be-forgotten";
const EXTERNAL: &str = "zq9-external-to-be-forgotten";

/// Whether any file below `folder` holds `needle`.
fn found_below(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).expect("the data directory").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return found_below(&path, needle);
        }
        fs::read(&path).is_ok_and(|bytes| memmem::find(&bytes, needle).is_some())
    })
}

/// The keys in a file.
fn keyring(file: &Path) -> Arc<Keyring> {
    Arc::new(Keyring::parse(&fs::read_to_string(file).expect("the sealing key")).expect("a key"))
}

/// Templates that a store with this file and these keys gives out to who has the key-encryption key, as stored; none if
/// it refuses.
async fn stored_templates([file, keys]: &[PathBuf; 2], sealing: &Path) -> Vec<Vec<u8>> {
    let copy = TempDir::new().expect("a folder");
    let path = copy.path().join("store.redb");
    fs::copy(file, &path).expect("the store's file");
    fs::copy(keys, copy.path().join("store.redb.keys")).expect("the store's keys");
    let Ok(store) = RedbStore::open(&path) else { return Vec::new() };
    let Ok(store) = SealedStore::open(Arc::new(store), keyring(sealing)).await else { return Vec::new() };
    let store: Arc<dyn Store> = Arc::new(store);
    let (tenant, collection) = (TenantId::new("default"), CollectionId::new("c"));
    let templates = Templates::new(store, &tenant.expect("an id"), &collection.expect("an id"));
    let rows = templates.scan_templates(None, 100).await.map_or_else(|_| Vec::new(), |(rows, _)| rows);
    rows.iter().map(|r| r.templates.to_bytes()).collect()
}

/// The store's file and its keys, of a service that has stopped.
fn files(folder: &Path) -> [PathBuf; 2] {
    ["store.redb", "store.redb.keys"].map(|name| folder.join(name))
}

// Waiting for the service's end must not keep the client's connections from being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_deleted_subject_is_left_on_disk() {
    let mut app = TestApp::start();
    let client = app.client();
    drop(client.create_collection("c").await);
    let mut body = enrolment(NAME, &[Person::Astronaut.photo()]);
    body["metadata"] = json!({"note": NOTE});
    body["external_id"] = json!(EXTERNAL);
    drop(client.post("/v1/collections/c/subjects", &body).await.expect(201));
    drop(client.enrol("c", "kept", &[Person::Biden.photo()]).await.expect(201));
    let values = embedding_of(&client, Person::Astronaut.photo()).await;
    let template: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();

    // A search brings the gallery into memory, and a stop then writes its snapshot; the copy is what a thief would have.
    assert_eq!(decision(&client.identify("c", &Person::Astronaut.photo()).await.ok()), ("match", NAME));
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    let before = TempDir::new().expect("a folder");
    for file in files(app.data_dir()) {
        fs::copy(&file, before.path().join(file.file_name().expect("a name"))).expect("a copy");
    }
    let sealing = app.data_dir().join("sealing.key");
    let old = files(before.path());
    let stored = stored_templates(&old, &sealing).await;
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().any(|t| t.ends_with(&template)), "these are the bytes to look for");

    app.restart();
    let client = app.client();
    drop(client.delete(&format!("/v1/collections/c/subjects/{NAME}")).await.ok());
    let answer = client.identify("c", &Person::Astronaut.photo()).await.ok();
    assert_eq!(decision(&answer).0, "no_match");
    assert!(!answer.to_string().contains(NAME));
    let folder = app.data_dir().to_owned();
    let absent = |when: &str| {
        for text in [NAME, NOTE, EXTERNAL] {
            assert!(!found_below(&folder, text.as_bytes()), "{when}: {text:?} is on disk");
        }
        for (part, bytes) in [("begin", &template[..24]), ("end", &template[template.len() - 24..])] {
            assert!(!found_below(&folder, bytes), "{when}: the template's {part} is on disk");
        }
    };
    absent("as soon as it was deleted");
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    absent("after the end");

    let now = files(&folder);
    let left = stored_templates(&now, &sealing).await;
    assert_eq!(left.len(), 1, "the other subject is still there");
    assert!(!left.iter().any(|t| t.ends_with(&template)));
    // A backup of the old file is of no use without the keys that were destroyed.
    let [old_file, keys] = [old[0].clone(), now[1].clone()];
    let revived = stored_templates(&[old_file, keys], &sealing).await;
    assert!(!revived.iter().any(|t| t.ends_with(&template)), "the old file with today's keys gives the template back");
}

/// Enrols the astronaut in a service of its own, lets `forget` do its work, and looks for the template.
async fn template_after(forget: impl AsyncFnOnce(&Client, &Value)) {
    let app = TestApp::start();
    let client = app.client();
    drop(client.create_collection("c").await);
    let enrolled = client.enrol("c", "a", &[Person::Astronaut.photo()]).await.expect(201).json;
    let values = embedding_of(&client, Person::Astronaut.photo()).await;
    let template: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    assert_eq!(decision(&client.identify("c", &Person::Astronaut.photo()).await.ok()).0, "match");
    forget(&client, &enrolled).await;
    let answer = client.identify("c", &Person::Astronaut.photo()).await.ok();
    assert_eq!(decision(&answer), ("no_match", ""), "{answer}");
    assert!(!found_below(app.data_dir(), &template[..24]), "the template is on disk");
    let faces = client.get("/v1/collections/c/subjects/a/faces").await;
    assert!(faces.status == 410 || faces.json["items"] == json!([]), "{}", faces.text());
}

#[tokio::test]
async fn deleting_a_face_takes_its_template() {
    template_after(async |client, enrolled| {
        let face = enrolled["faces"][0]["id"].as_str().expect("an id");
        drop(client.delete(&format!("/v1/collections/c/subjects/a/faces/{face}")).await.ok());
    })
    .await;
}

#[tokio::test]
async fn withdrawing_the_consent_takes_the_template() {
    template_after(async |client, enrolled| {
        let consent = enrolled["consent_id"].as_str().expect("an id");
        let done = client.post(&format!("/v1/consents/{consent}/withdraw"), &json!({})).await.ok();
        assert_eq!(done["faces_erased"], 1, "{done}");
    })
    .await;
}

#[tokio::test]
async fn deleting_a_collection_takes_everybody_in_it() {
    let app = TestApp::start();
    let client = app.client();
    drop(client.create_collection("c").await);
    drop(client.enrol("c", NAME, &[Person::Astronaut.photo()]).await.expect(201));
    drop(client.delete("/v1/collections/c").await.ok());
    drop(client.identify("c", &Person::Astronaut.photo()).await.expect(404));
    assert!(!found_below(app.data_dir(), NAME.as_bytes()), "the subject is on disk");
    // The name is free again, and what comes under it begins empty.
    drop(client.create_collection("c").await);
    let stats = client.get("/v1/collections/c/stats").await.ok();
    assert_eq!((&stats["subjects"], &stats["faces"]), (&json!(0), &json!(0)));
    let answer = client.identify("c", &Person::Astronaut.photo()).await.ok();
    assert_eq!(decision(&answer), ("no_match", ""));
}

/// On the embedded store. `cargo test --release -p visavis-tests --test e2e ten_thousand -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a minute or two; prints figures"]
async fn ten_thousand_are_erased_under_load() {
    let mut app = TestApp::start();
    let collection = app.client().create_collection("staff").await;
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    let [file, _] = files(app.data_dir());
    let store = Arc::new(RedbStore::open(&file).expect("the store"));
    let sealed = SealedStore::open(store, keyring(&app.data_dir().join("sealing.key"))).await.expect("its key");
    crate::crowd::fill(Arc::new(sealed), &collection).await;
    app.restart();
    crate::crowd::erased_under_load("redb, all in one", &[app.client()]).await;
}
