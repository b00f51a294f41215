//! Deleting takes the bytes as well: the template and the subject's name are in no file of the data directory, and
//! what the store's file still holds of them cannot be opened any more.

use std::{fs, path::Path, sync::Arc};

use domain::{CollectionId, TenantId};
use serde_json::json;
use store::{RedbStore, Store, Templates};
use tempfile::TempDir;
use testkit::{Person, TestApp, enrolment};

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
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|w| w == needle)
    })
}

/// Templates that a store with this file and these keys gives out, as stored; none if it refuses.
async fn stored_templates(file: &Path, keys: &Path) -> Vec<Vec<u8>> {
    let copy = TempDir::new().expect("a folder");
    let path = copy.path().join("store.redb");
    fs::copy(file, &path).expect("the store's file");
    fs::copy(keys, copy.path().join("store.redb.keys")).expect("the store's keys");
    let Ok(store) = RedbStore::open(&path) else { return Vec::new() };
    let store: Arc<dyn Store> = Arc::new(store);
    let (tenant, collection) = (TenantId::new("default"), CollectionId::new("c"));
    let templates = Templates::new(store, &tenant.expect("an id"), &collection.expect("an id"));
    let rows = templates.scan_templates(None, 100).await.map_or_else(|_| Vec::new(), |(rows, _)| rows);
    rows.iter().map(|r| r.template.to_bytes()).collect()
}

/// The store's file and its keys, of a service that has stopped.
fn files(folder: &Path) -> [std::path::PathBuf; 2] {
    ["store.redb", "store.redb.keys"].map(|name| folder.join(name))
}

#[tokio::test]
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

    // A stop writes everything there is to write, such as gallery snapshots; the copy is what a thief would have.
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    let before = TempDir::new().expect("a folder");
    for file in files(app.data_dir()) {
        fs::copy(&file, before.path().join(file.file_name().expect("a name"))).expect("a copy");
    }
    let [old_file, old_keys] = files(before.path());
    let stored = stored_templates(&old_file, &old_keys).await;
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().any(|t| t.ends_with(&template)), "these are the bytes to look for");

    app.restart();
    let client = app.client();
    drop(client.delete(&format!("/v1/collections/c/subjects/{NAME}")).await.ok());
    let answer = client.identify("c", &Person::Astronaut.photo()).await.ok();
    assert_eq!(decision(&answer).0, "no_match");
    assert!(!answer.to_string().contains(NAME));
    let absent = |when: &str| {
        for text in [NAME, NOTE, EXTERNAL] {
            assert!(!found_below(app.data_dir(), text.as_bytes()), "{when}: {text:?} is on disk");
        }
        for (part, bytes) in [("begin", &template[..24]), ("end", &template[template.len() - 24..])] {
            assert!(!found_below(app.data_dir(), bytes), "{when}: the template's {part} is on disk");
        }
    };
    absent("as soon as it was deleted");
    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    absent("after the end");

    let [file, keys] = files(app.data_dir());
    let left = stored_templates(&file, &keys).await;
    assert_eq!(left.len(), 1, "the other subject is still there");
    assert!(!left.iter().any(|t| t.ends_with(&template)));
    // A backup of the old file is of no use without the keys that were destroyed.
    let revived = stored_templates(&old_file, &keys).await;
    assert!(!revived.iter().any(|t| t.ends_with(&template)), "the old file with today's keys gives the template back");
}

