//! What lies on the shared server and on the disks beside it: nothing of a picture, a template or a name while somebody
//! is enrolled, nothing of theirs at all once they are erased. And nobody joins with another key.

use std::{fs, path::Path, process::Command};

use memchr::memmem;
use serde_json::json;
use store::{RedisStore, RedisStoreOptions, Space, Store};
use testkit::{Cluster, ClusterOptions, Person, binary, enrolment};

use crate::{decision, inside};

const NAME: &str = "zq7-subject-kept-secret";
const NOTE: &str = "zq8-note-kept-secret";
const EXTERNAL: &str = "zq9-external-kept-secret";

/// Files below `folder` that hold `needle`.
fn found_below(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(found_below(&path, needle));
        } else if fs::read(&path).is_ok_and(|bytes| memmem::find(&bytes, needle).is_some()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Every record that lies on the server, as it lies there.
async fn records(cluster: &Cluster) -> Vec<(String, Vec<u8>)> {
    let store = RedisStore::open(inside::link(cluster), RedisStoreOptions::default()).await.expect("a store");
    let (tenant, collection) = ("default".parse().expect("an id"), "staff".parse().expect("an id"));
    let mut all = Vec::new();
    for space in [Space::system(), Space::tenant(&tenant), Space::collection(&tenant, &collection)] {
        let page = store.scan(&space, "", None, 10_000).await.expect("records");
        all.extend(page.records.into_iter().map(|(key, record)| (key, record.value.to_vec())));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_disks_show_nothing_of_who_is_enrolled_and_hold_nothing_of_who_is_erased() {
    let mut cluster =
        Cluster::start(ClusterOptions { gateways: 1, workers: 1, nginx: false, ..ClusterOptions::default() });
    let client = cluster.client();
    drop(client.create_collection("staff").await);
    let photo = Person::Astronaut.photo();
    let mut body = enrolment(NAME, std::slice::from_ref(&photo));
    body["metadata"] = json!({"note": NOTE});
    body["external_id"] = json!(EXTERNAL);
    let request = client.request("POST", "/v1/collections/staff/subjects").header("idempotency-key", "zq-once");
    drop(client.send(request.json(&body)).await.expect(201));
    drop(client.enrol("staff", "kept", &[Person::Biden.photo()]).await.expect(201));
    assert_eq!(decision(&client.identify("staff", &photo).await.ok()), ("match", NAME));
    let answer = client.embeddings(photo.clone()).await.ok();
    let values = answer["items"][0]["faces"][0]["embedding"]["values"].as_array().expect("an embedding").clone();
    #[expect(clippy::cast_possible_truncation, reason = "it was a single-precision number")]
    let values: Vec<f32> = values.iter().map(|v| v.as_f64().expect("a number") as f32).collect();
    let halves: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
    let singles: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let middle = photo.len() / 2;
    let secrets: [(&str, &[u8]); 7] = [
        ("name", NAME.as_bytes()),
        ("note", NOTE.as_bytes()),
        ("external id", EXTERNAL.as_bytes()),
        ("template", &halves[..24]),
        ("template's end", &halves[halves.len() - 24..]),
        ("embedding", &singles[..24]),
        ("picture", &photo[middle..middle + 32]),
    ];
    // The worker's snapshot is written at its end.
    cluster.worker(0).terminate();
    assert_eq!(tokio::task::block_in_place(|| cluster.worker_mut(0).wait()), Some(0));
    let redis = cluster.redis().data_dir().to_owned();
    let unseen = |when: &str| {
        for folder in [&redis, cluster.folder()] {
            for (what, bytes) in secrets {
                assert_eq!(found_below(folder, bytes), Vec::<String>::new(), "{when}: the {what} can be read");
            }
        }
    };
    unseen("as it was written");
    for order in ["BGREWRITEAOF", "SAVE"] {
        let _ = cluster.redis().command(&[order]);
        unseen(order);
    }
    let snapshots = cluster.folder().join("worker-0/snapshots");
    assert_eq!(fs::read_dir(snapshots).expect("the worker's snapshots").count(), 1);

    // Her sealed records, which a thief may have: none is left anywhere once she is erased, nor the key to them.
    let before = records(&cluster).await;
    let guard = before.iter().find(|(key, _)| key.starts_with("s/")).expect("a subject").0.clone();
    let count = before.iter().filter(|(key, _)| key.starts_with("s/")).count();
    assert!(count == 2 && before.iter().any(|(key, _)| key.starts_with("~key/")), "{guard}");
    tokio::task::block_in_place(|| cluster.worker_mut(0).restart());
    drop(client.delete(&format!("/v1/collections/staff/subjects/{NAME}")).await.expect(204));
    let after = records(&cluster).await;
    let handles: Vec<&str> = after.iter().filter_map(|(key, _)| key.strip_prefix("s/")).collect();
    assert_eq!(handles.len(), 1);
    let hers = before.iter().filter(|(key, _)| key.contains('/') && !key.contains(handles[0]));
    let hers: Vec<_> =
        hers.filter(|(key, _)| ["s/", "f/", "v/", "n/", "g/", "~key/"].iter().any(|p| key.starts_with(p))).collect();
    assert!(hers.len() >= 6, "{hers:?}");
    for (key, value) in hers {
        assert!(found_below(&redis, value).is_empty(), "{key} is still on the server's disk");
    }
    unseen_now(&cluster, &secrets);
}

/// The same search once more, after the erasure.
fn unseen_now(cluster: &Cluster, secrets: &[(&str, &[u8])]) {
    for (what, bytes) in secrets {
        for folder in [cluster.redis().data_dir(), cluster.folder()] {
            assert_eq!(found_below(folder, bytes), Vec::<String>::new(), "the {what} can be read");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_with_another_key_or_without_one() {
    let cluster = Cluster::start(ClusterOptions { gateways: 1, workers: 0, nginx: false, ..ClusterOptions::default() });
    let redis = cluster.redis().url();
    let start = |role: &str, environment: (&str, &str)| {
        let mut command = Command::new(binary());
        command.args([role, "--redis", &redis, "--admin-listen", "127.0.0.1:0", "--offline", "--data-dir"]);
        command.arg(cluster.folder().join("stranger")).env(environment.0, environment.1);
        let output = command.output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for role in ["worker", "gateway"] {
        let told = start(role, ("VISAVIS__SEALING__KEY", &"ab".repeat(32)));
        assert!(told.contains("the store's own key does not open") && told.contains("backup"), "{told}");
        let told = start(role, ("VISAVIS__SEALING__MODE", "off"));
        assert!(told.contains("this store is sealed with the key-encryption key"), "{told}");
    }
    // The one that has the key was not disturbed.
    drop(cluster.client().get("/v1/collections").await.ok());
}
