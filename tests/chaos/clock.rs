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

use crate::load::ALONE;

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
    fn start(library: &Path) -> Self {
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
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
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
    let clocked = tokio::task::block_in_place(|| Clocked::start(library));
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
