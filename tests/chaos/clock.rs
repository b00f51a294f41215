//! A machine whose clock is set forward and back under the running service, as by an administrator or a time server that
//! was away for long: waiting and leases go by the time that passes, and only what is about dates goes by the date. Needs
//! libfaketime, which Debian has; without it the tests say SKIPPED.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::json;
use testkit::{AppOptions, Client, Person, Picture, TestApp};

use crate::{
    evidence::{Desk, export},
    load::ALONE,
};

const HOUR: i64 = 3600;
/// Requests are answered as fast as ever: nothing waits for the clock.
const PROMPT: Duration = Duration::from_secs(8);

/// The library that sets a process's clock, where it is installed.
fn library() -> Option<&'static Path> {
    let places =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let found = places.into_iter().map(Path::new).find(|p| p.exists());
    if found.is_none() {
        drop(writeln!(io::stderr(), "SKIPPED: no libfaketime here (apt-get install libfaketime)"));
    }
    found
}

/// A service with a clock of its own.
struct Clocked {
    app: TestApp,
    set: PathBuf,
    _folder: tempfile::TempDir,
}

impl Clocked {
    fn start(library: &Path, settings: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let set = folder.path().join("clock");
        fs::write(&set, "+0").expect("the clock");
        let environment = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", set.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            // The clock that only ever runs stays as it is, as the kernel has it.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let environment =
            environment.into_iter().chain(settings).map(|(name, value)| (name.to_owned(), value)).collect();
        let app = TestApp::start_with(AppOptions { environment, ..AppOptions::default() });
        Self { app, set, _folder: folder }
    }

    /// Sets the clock so many seconds ahead of the machine's.
    fn set(&self, ahead: i64) {
        fs::write(&self.set, format!("{ahead:+}")).expect("the clock");
    }
}

/// One of everything: a write, a search, a job that is not waited for. Each prompt.
async fn everything(client: &Client, photo: &bytes::Bytes, subject: &str) {
    let began = Instant::now();
    drop(client.enrol("c", subject, std::slice::from_ref(photo)).await.expect(201));
    let found = client.identify("c", photo).await.ok();
    assert_eq!(found["results"][0]["decision"], "match", "{found}");
    let request =
        client.request("POST", "/v1/detect").header("content-type", "image/png").header("prefer", "respond-async");
    let job = client.send(request.body(photo.clone())).await.expect(202).header("location").to_owned();
    loop {
        let state = client.get(&job).await.ok();
        if state["state"] == "succeeded" {
            break;
        }
        assert!(began.elapsed() < PROMPT, "the job is {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < PROMPT, "it took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_forward_and_back_ends_what_has_ended_and_nothing_else() {
    let Some(library) = library() else { return };
    let _alone = ALONE.lock().await;
    let clocked = tokio::task::block_in_place(|| Clocked::start(library, &[]));
    let client = clocked.app.client();
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    drop(client.create_collection("c").await);
    everything(&client, &photo, "before").await;

    let now = domain::Timestamp::now();
    let expires = now.plus(Duration::from_secs(2 * HOUR.unsigned_abs()));
    let body = json!({"name": "short", "scopes": ["subjects:read"], "expires_at": expires.to_string()});
    let made = client.post("/v1/api-keys", &body).await.expect(201).json;
    let short = client.with_key(made["secret"].as_str().expect("a secret"));
    drop(short.get("/v1/collections/c/subjects").await.expect(200));

    clocked.set(3 * HOUR);
    let told = short.get("/v1/collections/c/subjects").await.expect(401).problem("unauthenticated");
    assert!(told.contains("expired"), "{told}");
    everything(&client, &photo, "after-a-jump").await;
    drop(client.with_key("").get("/readyz").await.expect(200));

    clocked.set(-3 * HOUR);
    everything(&client, &photo, "before-a-jump").await;
    drop(short.get("/v1/collections/c/subjects").await.expect(200));
    // A page after another, whatever the ids that were made at either time are worth as dates.
    let mut listed: Vec<String> = client.subjects("c").await.into_iter().collect();
    listed.sort();
    assert_eq!(listed, ["after-a-jump", "before", "before-a-jump"]);
    let jobs = client.get("/v1/jobs?limit=100").await.ok();
    assert_eq!(jobs["items"].as_array().map(Vec::len), Some(3), "{jobs}");

    // A deadline is a moment, so that every process knows it: a request under way may be told that it has passed.
    let (asked, ()) = tokio::join!(client.detect(photo.clone()), async { clocked.set(20 * HOUR) });
    assert!([200, 504].contains(&asked.status), "{}", asked.text());
    everything(&client, &photo, "at-last").await;
}

/// The numbers of the events in an exported trail.
fn numbers(lines: &[String]) -> Vec<u64> {
    let lines = lines.iter().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    lines.filter_map(|l| l["seq"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_the_audit_trail_go_after_their_days_and_what_is_left_can_still_be_proven() {
    let Some(library) = library() else { return };
    let _alone = ALONE.lock().await;
    let mut clocked = tokio::task::block_in_place(|| Clocked::start(library, &[("VISAVIS__AUDIT__KEEP_DAYS", "1")]));
    let client = clocked.app.client();
    for name in ["a", "b", "c"] {
        drop(client.create_collection(name).await);
    }
    let whole = export(&client).await;
    let count = numbers(&whole).len() as u64;
    assert!(count >= 3 && numbers(&whole)[0] == 1, "{whole:?}");

    clocked.set(23 * HOUR);
    tokio::task::block_in_place(|| clocked.app.restart());
    drop(clocked.app.client().create_collection("on-the-first-day").await);
    assert_eq!(numbers(&export(&clocked.app.client()).await)[0], 1, "they are kept for a day");

    clocked.set(25 * HOUR);
    tokio::task::block_in_place(|| clocked.app.restart());
    let client = clocked.app.client();
    drop(client.create_collection("on-the-second-day").await);
    let began = Instant::now();
    let left = loop {
        let lines = export(&client).await;
        if numbers(&lines)[0] > count {
            break lines;
        }
        assert!(began.elapsed() < PROMPT, "events older than a day stay: {:?}", numbers(&lines));
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // The first export is an event too, and as old as what went; after it came the first day's collection.
    let first = numbers(&left)[0];
    assert_eq!(first, count + 2, "no younger one went with them");

    let desk = Desk::new();
    let keys = desk.keys(&client).await;
    let keys = ["--jwks", keys.to_str().expect("a path")];
    let (status, told) = desk.verify_trail(&left, &keys);
    assert!(status == 0 && told.contains("good: "), "{told}");
    assert_eq!(desk.verify_trail(&whole, &keys).0, 0, "what somebody exported before is still good");
    // The signed end of what went is no licence to take one more.
    let without: Vec<String> = left.iter().filter(|l| !l.contains(&format!("\"seq\":{first},"))).cloned().collect();
    assert_eq!(without.len() + 1, left.len());
    assert_eq!(desk.verify_trail(&without, &keys).0, 65);
    assert_eq!(desk.verify_trail(&left[1..], &keys).0, 65, "nor is it left out");
}
