//! A store of an older version, and one of a newer, as an operator meets them at an upgrade and after it. The real
//! binary on the embedded store; nothing here needs models.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::process::{Command, Output};

use serde_json::{Value, json};
use store::{Commit, RedbStore, Space, Store};

/// Starts everything. Without models it gets as far as those, which is past the store.
fn up(home: &tempfile::TempDir) -> Output {
    let flags = ["up", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--offline", "--data-dir", "data"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    command.env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin").current_dir(home.path());
    command.env("VISAVIS__SEALING__MODE", "off").args(flags).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn past_the_store(output: &Output) {
    assert!(output.status.code() == Some(1) && said(output).contains("models import"), "{}", said(output));
}

fn open(home: &tempfile::TempDir) -> RedbStore {
    RedbStore::open(&home.path().join("data/store.redb")).unwrap()
}

async fn schema(store: &RedbStore) -> Option<Value> {
    let record = store.get(&Space::system(), "schema").await.unwrap()?;
    Some(serde_json::from_slice(&record.value).unwrap())
}

#[tokio::test]
async fn an_older_store_is_brought_forward_and_a_newer_one_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    past_the_store(&up(&home));
    let present = {
        let store = open(&home);
        let present = schema(&store).await.unwrap();
        assert_eq!(present["version"], 2, "{present}");
        // As it was before versions were written down: a tenant that is known by its key alone.
        let commit = Commit::new().delete("schema").delete("tenants/default");
        store.commit(&Space::system(), commit).await.unwrap();
        let keys = store.keys(&Space::system(), "key/", None, 10).await.unwrap().keys;
        assert_eq!(keys.len(), 1, "the first start makes a key: {keys:?}");
        present
    };
    past_the_store(&up(&home));
    {
        let store = open(&home);
        assert_eq!(schema(&store).await.unwrap(), present);
        assert!(store.get(&Space::system(), "tenants/default").await.unwrap().is_some(), "its tenant is noted");
        // A newer version that only added something shares the store with this one.
        let newer = serde_json::to_vec(&json!({"version": 7, "least": 1, "more": "to come"})).unwrap();
        store.commit(&Space::system(), Commit::new().put("schema", newer)).await.unwrap();
    }
    past_the_store(&up(&home));
    let revision = {
        let store = open(&home);
        assert_eq!(schema(&store).await.unwrap()["version"], 7, "nothing is taken back");
        let newer = serde_json::to_vec(&json!({"version": 9, "least": 8})).unwrap();
        store.commit(&Space::system(), Commit::new().put("schema", newer)).await.unwrap()
    };
    let refused = up(&home);
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    for part in ["newer version", "form 9", "form 8 or later", "knows form 2", "Nothing has been changed"] {
        assert!(said(&refused).contains(part), "{part} is missing in {}", said(&refused));
    }
    assert_eq!(open(&home).revision(&Space::system()).await.unwrap(), revision);
}
