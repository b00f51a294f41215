//! Disks that are full, read-only or wrong under the whole service: it says so, keeps what it acknowledged, answers what
//! needs no writing, and goes on when the disk does. On real file systems of a few MiB, which needs root.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use testkit::{
    Client, Cluster, ClusterOptions, Person, Picture, RedisOptions, Role, Service, ServiceOptions, SmallDisk, binary,
    cache_dir,
};
use tokio::task::block_in_place;

use crate::load::ALONE;

/// Everything works again within this time.
const RECOVERY: Duration = Duration::from_secs(10);

/// The service with its data in a folder of this disk.
fn options(disk: &SmallDisk, environment: &[(&str, String)]) -> ServiceOptions {
    let folder = disk.path().join("data");
    ServiceOptions {
        role: Role::Up,
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        key_file: folder.join("admin.key"),
        certificate: folder.join("tls/cert.pem"),
        data_dir: folder,
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        arguments: Vec::new(),
        niceness: 0,
        binary: None,
    }
}

async fn ready(service: &Service, expected: u16) {
    let began = Instant::now();
    while service.readiness().await != Some(expected) {
        assert!(began.elapsed() < RECOVERY, "the readiness does not become {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Enrols one more; whether it was acknowledged. Any refusal is an honest one.
async fn enrol(client: &Client, photo: &bytes::Bytes, number: usize) -> bool {
    let answer = client.enrol("c", &format!("s{number}"), std::slice::from_ref(photo)).await;
    if answer.status != 201 {
        let told = answer.clone().expect(503).problem("store_unavailable");
        assert!(told.contains("disk"), "{told}");
        assert!(answer.json["retryable"] == true && !answer.header("retry-after").is_empty(), "{}", answer.text());
    }
    answer.status == 201
}

async fn found(client: &Client, photo: &bytes::Bytes) -> Value {
    client.identify("c", photo).await.ok()["results"][0]["candidates"][0]["subject_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_what_is_put_down_and_nothing_acknowledged_is_lost() {
    let _alone = ALONE.lock().await;
    let Some(disk) = SmallDisk::mount_or_skip(96) else { return };
    let mut service = block_in_place(|| Service::start(options(&disk, &[])));
    let client = service.client();
    let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
    drop(client.create_collection("c").await);
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for n in 0..3 {
        assert!(enrol(&client, &photo, n).await, "there is room");
        kept.insert(format!("s{n}"));
    }
    disk.fill_but(2_000);
    ready(&service, 503).await;
    let told = client.with_key("").get("/readyz").await.expect(503).problem("store_unavailable");
    assert!(told.contains("takes no more"), "{told}");
    for n in 3..6 {
        assert!(!enrol(&client, &photo, n).await, "there is no room");
    }
    assert_eq!(client.subjects("c").await, kept, "reading needs no room");
    // Whom somebody is recognised as is told only once it is put down.
    let untold = client.identify("c", &photo).await.expect(503).problem("store_unavailable");
    assert!(untold.contains("audit trail"), "{untold}");
    disk.empty();
    ready(&service, 200).await;
    assert!(enrol(&client, &photo, 6).await, "there is room again");
    kept.insert("s6".into());
    block_in_place(|| service.restart());
    let client = service.client();
    assert_eq!(client.subjects("c").await, kept);
    assert_eq!(client.get("/v1/collections/c/stats").await.ok()["faces"], kept.len());
    assert_eq!(found(&client, &photo).await, "s0");
}

fn start(arguments: &[&str], data: &Path, cache: &Path) -> Output {
    let mut command = Command::new(binary());
    command.args(["up", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--data-dir"]).arg(data);
    command.args(arguments).env("VISAVIS__MODELS__CACHE_DIR", cache).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let began = Instant::now();
    // One that starts against expectation would serve for ever.
    while child.try_wait().expect("the process").is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().expect("the process");
        }
        sleep(Duration::from_millis(20));
    }
    child.wait_with_output().expect("what it wrote")
}

#[track_caller]
fn refused(output: &Output, status: i32, words: &[&str]) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{told}");
    assert!(words.iter().all(|w| told.contains(w)), "{words:?} in: {told}");
    assert!(!told.contains("panicked"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_disk_that_will_not_do_ends_with_the_reason() {
    let _alone = ALONE.lock().await;
    let Some(disk) = SmallDisk::mount_or_skip(16) else { return };
    let data = disk.path().join("data");
    disk.read_only(true);
    refused(&start(&[], &data, &cache_dir()), 1, &["data directory", "Read-only file system"]);
    disk.read_only(false);
    disk.fill_but(0);
    refused(&start(&[], &data, &cache_dir()), 1, &["sealing key", "No space left on device"]);
    disk.empty();
    // Room for the key, not for the records.
    disk.fill_but(48);
    refused(&start(&[], &data, &cache_dir()), 69, &["disk of the store takes no more"]);
    disk.empty();
    fs::remove_dir_all(&data).expect("what the attempt left");
}

/// `cargo test -p visavis-tests --test chaos -- --ignored full_cache`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "downloads a model in vain"]
async fn a_full_cache_of_models_is_told_and_nothing_half_fetched_is_left() {
    let _alone = ALONE.lock().await;
    let Some(disk) = SmallDisk::mount_or_skip(16) else { return };
    let (cache, data) = (disk.path().join("cache"), tempfile::tempdir().expect("a folder"));
    fs::create_dir(&cache).expect("a folder");
    disk.fill_but(1_000);
    let output = block_in_place(|| start(&[], data.path(), &cache));
    refused(&output, 1, &["cache", "is full"]);
    let left =
        fs::read_dir(&cache).expect("the cache").flatten().filter(|e| e.metadata().is_ok_and(|m| m.len() > 1_000));
    assert_eq!(left.filter(|e| e.path().is_file()).count(), 0, "half a file is left");
}

/// The store's files as a failing disk leaves them: told at the start, and nothing is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_changed_page_is_told_at_the_start() {
    let _alone = ALONE.lock().await;
    let Some(disk) = SmallDisk::mount_or_skip(96) else { return };
    let mut service = block_in_place(|| Service::start(options(&disk, &[])));
    drop(service.client().create_collection("c").await);
    service.terminate();
    assert_eq!(block_in_place(|| service.wait()), Some(0));
    let (data, store) = (disk.path().join("data"), disk.path().join("data/store.redb"));
    let mut bytes = fs::read(&store).expect("the store");
    // In pages that are no longer in use as well: which one is, the file does not tell.
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, b"collections/c").collect();
    assert!(!places.is_empty(), "a record's key");
    let flip = |bytes: &mut [u8]| places.iter().for_each(|at| bytes[at + 3] ^= 1);
    flip(&mut bytes);
    fs::write(&store, &bytes).expect("the store");
    refused(&start(&["--offline"], &data, &cache_dir()), 69, &["store.redb cannot be opened", "orrupt"]);
    flip(&mut bytes);
    fs::write(&store, &bytes).expect("the store");
    service.restart();
    drop(service.client().get("/v1/collections/c").await.expect(200));
}

/// `cargo test -p visavis-tests --test chaos -- --ignored --nocapture full_disk_of_the_shared_server`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half a minute"]
async fn a_full_disk_of_the_shared_server_is_told_and_nothing_acknowledged_is_lost() {
    let _alone = ALONE.lock().await;
    for appendfsync in ["always", "everysec"] {
        let Some(disk) = SmallDisk::mount_or_skip(24) else { return };
        let redis = RedisOptions {
            appendfsync: Some(appendfsync),
            arguments: vec!["--dir".to_owned(), disk.path().display().to_string()],
            ..RedisOptions::default()
        };
        let mut cluster = Cluster::start(ClusterOptions {
            gateways: 1,
            workers: 1,
            nginx: false,
            redis,
            ..ClusterOptions::default()
        });
        let client = cluster.client();
        let photo = Picture::decode(&Person::Astronaut.photo()).resized(160, 160).png();
        drop(client.create_collection("c").await);
        let mut kept = BTreeSet::new();
        for n in 0..3 {
            drop(client.enrol("c", &format!("s{n}"), std::slice::from_ref(&photo)).await.expect(201));
            kept.insert(format!("s{n}"));
        }
        disk.fill_but(40);
        let (began, mut refusals) = (Instant::now(), 0);
        for n in 3.. {
            let answer = client.enrol("c", &format!("s{n}"), std::slice::from_ref(&photo)).await;
            println!("{appendfsync}: {} {}", answer.status, answer.json["code"]);
            match answer.status {
                201 => drop(kept.insert(format!("s{n}"))),
                503 | 504 => refusals += 1,
                _ => panic!("{}", answer.text()),
            }
            if refusals > 3 {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the disk never fills up");
        }
        ready(cluster.gateway(0), 503).await;
        disk.empty();
        block_in_place(|| cluster.redis_mut().restart());
        ready(cluster.gateway(0), 200).await;
        let listed = client.subjects("c").await;
        let lost: Vec<_> = kept.difference(&listed).collect();
        assert!(lost.is_empty(), "{appendfsync}: acknowledged and lost: {lost:?}");
        // The worker announces itself anew in a moment; until then a caller is told to try again.
        let back = Instant::now();
        loop {
            let answer = client.enrol("c", "later", std::slice::from_ref(&photo)).await;
            if answer.status == 201 {
                break;
            }
            assert!(back.elapsed() < RECOVERY && answer.json["retryable"] == true, "{}", answer.text());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{appendfsync}: {} acknowledged, {} there", kept.len(), listed.len());
    }
}
