//! Objects on disk and on a real S3-compatible server: the same rules hold on both, and what fails is told without names.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::{os::unix::fs::PermissionsExt, time::Duration};

use bytes::Bytes;
use domain::{ErrorCode, Timestamp};
use futures::TryStreamExt;
use objects::{Objects, ObjectsError, S3Options};
use testkit::S3Server;

use visavis_objects as objects;

fn options(server: &S3Server) -> S3Options {
    S3Options {
        bucket: S3Server::BUCKET.into(),
        prefix: "some/prefix".into(),
        endpoint: Some(server.endpoint()),
        access_key: S3Server::ACCESS_KEY.into(),
        secret_key: S3Server::SECRET_KEY.into(),
        allow_http: server.ca_file().is_none(),
        ca_file: server.ca_file().map(Into::into),
        timeout: Duration::from_secs(20),
        ..S3Options::default()
    }
}

async fn names(objects: &Objects, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = objects.list(prefix).map_ok(|l| l.name).try_collect().await.expect("a list");
    names.sort();
    names
}

/// What holds wherever objects lie.
async fn rules(objects: &Objects) {
    assert_eq!(names(objects, "a").await, Vec::<String>::new(), "nothing there yet");
    assert_eq!(objects.get("a/b/c").await.expect("an answer"), None);
    let bytes = Bytes::from(vec![7; 60_000]);
    for name in ["a/b/c", "a/b/d", "a/bb/e", "z"] {
        objects.put(name, bytes.clone()).await.expect("it is put");
    }
    assert_eq!(objects.get("a/b/c").await.expect("an answer"), Some(bytes.clone()));
    assert_eq!(names(objects, "a/b").await, ["a/b/c", "a/b/d"], "a prefix is whole parts");
    assert_eq!(names(objects, "a").await, ["a/b/c", "a/b/d", "a/bb/e"]);
    let listed: Vec<_> = objects.list("z").try_collect().await.expect("a list");
    assert!(listed.is_empty(), "an object is not below its own name");
    let listed: Vec<_> = objects.list("a/bb").try_collect().await.expect("a list");
    assert_eq!(listed[0].size, 60_000);
    let age = Timestamp::now().since(listed[0].written_at);
    assert!(age < Duration::from_secs(60), "written {age:?} ago");
    let mut listing = objects.list("a");
    while listing.try_next().await.expect("a list").is_some() {}
    assert_eq!(listing.try_next().await.expect("still its end"), None, "asked again after the end");
    // Over another.
    objects.put("a/b/c", Bytes::from_static(b"new")).await.expect("it is put");
    assert_eq!(objects.get("a/b/c").await.expect("an answer").as_deref(), Some(&b"new"[..]));
    // What is gone already is no error.
    let gone = ["a/b/c", "a/b/never", "a/b/d"].map(str::to_owned);
    objects.delete(&gone).await.expect("they are gone");
    objects.delete(&gone).await.expect("they are still gone");
    assert_eq!(names(objects, "a").await, ["a/bb/e"]);
    assert_eq!(objects.put("a//b", Bytes::new()).await, Err(ObjectsError::Name));
    assert_eq!(objects.put("../b", Bytes::new()).await, Err(ObjectsError::Name));
}

#[tokio::test]
async fn objects_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("new/objects");
    let objects = Objects::disk(root.clone()).expect("a folder can be made");
    rules(&objects).await;
    assert!(!root.join("a/b").exists(), "an empty folder goes with its last object");
    let mode = |path: &std::path::Path| path.metadata().expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&root), mode(&root.join("z"))), (0o700, 0o600), "for its owner alone");
    assert_eq!(std::fs::read_dir(root.join(".writing")).expect("a folder").count(), 0, "nothing half written is left");
    // Where the folder has become a file nothing can be put, and the failure says nothing of the name.
    objects.put("taken", Bytes::new()).await.expect("it is put");
    let error = objects.put("taken/secret-name", Bytes::new()).await.expect_err("below an object");
    assert!(error.code() == ErrorCode::StoreUnavailable && !error.to_string().contains("secret-name"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_and_deletions_in_one_folder_do_not_hinder_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let objects = Objects::disk(folder.path().to_owned()).expect("a folder");
    let turns = (0..4).map(|task| {
        let objects = objects.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                let name = format!("shared/folder/{task}-{n}");
                objects.put(&name, Bytes::from_static(b"x")).await.expect("a folder that goes is made anew");
                objects.delete(&[name]).await.expect("it goes");
            }
        })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.expect("a turn");
    }
    assert_eq!(names(&objects, "shared").await, Vec::<String>::new());
}

#[tokio::test]
async fn objects_on_a_server_over_http() {
    let mut server = S3Server::start();
    let objects = Objects::s3(&options(&server)).expect("settings");
    rules(&objects).await;
    assert!(server.bucket().join("some/prefix/z").exists(), "below the prefix");

    let refused = Objects::s3(&S3Options { secret_key: "another".into(), ..options(&server) }).expect("settings");
    let error = refused.put("secret-name", Bytes::new()).await.expect_err("a wrong key");
    assert_eq!((error.code(), error.to_string().contains("refuses")), (ErrorCode::StoreUnavailable, true), "{error}");
    let elsewhere = Objects::s3(&S3Options { bucket: "nowhere".into(), ..options(&server) }).expect("settings");
    assert!(elsewhere.put("secret-name", Bytes::new()).await.is_err(), "no such bucket");

    server.stop();
    let error = objects.put("secret-name", Bytes::new()).await.expect_err("nobody listens");
    assert_eq!(error.code(), ErrorCode::StoreUnavailable);
    assert!(!error.to_string().contains("secret-name"), "{error}");
    assert!(objects.list("a").try_collect::<Vec<_>>().await.is_err(), "not an empty list");
    assert!(objects.delete(&["a/bb/e".to_owned()]).await.is_err());
    server.resume();
    assert_eq!(names(&objects, "a").await, ["a/bb/e"], "and it goes on where it was");
}

#[tokio::test]
async fn objects_on_a_server_over_tls() {
    let Some(server) = S3Server::start_tls() else {
        println!("SKIPPED: there is no openssl command to make a certificate");
        return;
    };
    rules(&Objects::s3(&options(&server)).expect("settings")).await;
    let stranger = Objects::s3(&S3Options { ca_file: None, ..options(&server) }).expect("settings");
    assert!(stranger.put("x", Bytes::new()).await.is_err(), "an authority that is not trusted");
}
