//! The link against real servers: what they say of themselves, Sentinel, a cluster, a pool that outlives its server.
#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use testkit::{RedisOptions, RedisServer};
use tokio::time::sleep;
use visavis_link::{Link, LinkError, LinkOptions, Persistence, redis};

fn link(url: impl Into<String>) -> Link {
    Link::new(LinkOptions::new(url)).unwrap()
}

fn with(arguments: &[&str], fsync: Option<&'static str>) -> RedisServer {
    let arguments = arguments.iter().map(|&a| a.to_owned()).collect();
    RedisServer::start_with(RedisOptions { appendfsync: fsync, arguments, ..RedisOptions::default() })
}

async fn ping(link: &Link) -> Result<(), LinkError> {
    let mut connection = link.connection().await?;
    Ok(redis::cmd("PING").query_async(&mut connection).await?)
}

/// How many connections the server counts, the one that asks included.
fn connections(server: &RedisServer) -> usize {
    server.command(&["CLIENT", "LIST"]).matches("laddr=").count()
}

#[tokio::test]
async fn a_sound_server_is_told_by_name_and_has_no_faults() {
    let server = RedisServer::start();
    let report = link(server.url()).check_server().await.unwrap();
    assert_eq!((report.product.as_str(), report.persistence), ("Valkey 9.1.2", Persistence::Always));
    assert!(report.errors.is_empty() && report.warnings.is_empty(), "{report:?}");
}

#[tokio::test]
async fn wrong_settings_are_errors_and_weak_ones_warnings() {
    let evicting = with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"], Some("everysec"));
    let report = link(evicting.url()).check_server().await.unwrap();
    assert!(report.errors.len() == 1 && report.errors[0].contains("allkeys-lru"), "{report:?}");
    assert_eq!(report.persistence, Persistence::EverySecond);
    assert!(report.warnings.iter().any(|w| w.contains("everysec")), "{report:?}");
    let forgetful = with(&[], None);
    let report = link(forgetful.url()).check_server().await.unwrap();
    assert_eq!((report.errors.len(), report.persistence), (0, Persistence::Weak));
    assert!(report.warnings.iter().any(|w| w.contains("append-only")), "{report:?}");
}

#[tokio::test]
async fn a_cluster_is_asked_master_by_master() {
    let server = RedisServer::start_with(RedisOptions { cluster: true, ..RedisOptions::default() });
    let link = link(server.url().replace("redis://", "redis-cluster://"));
    assert!(link.is_cluster());
    ping(&link).await.unwrap();
    let report = link.check_server().await.unwrap();
    assert_eq!((report.product.as_str(), report.persistence), ("Valkey 9.1.2", Persistence::Always));
    assert!(report.errors.is_empty(), "{report:?}");
}

#[tokio::test]
async fn connections_are_used_again_and_replaced_after_a_restart() {
    let mut server = RedisServer::start();
    let link = link(server.url());
    let before = connections(&server);
    for _ in 0..50 {
        ping(&link).await.unwrap();
    }
    assert_eq!(connections(&server), before + 1, "calls one after the other share a connection");
    drop(several(&link, 8).await);
    server.restart();
    // One call may learn of it; those after it do not, whichever connection they get.
    let mut failures = 0;
    for _ in 0..20 {
        failures += usize::from(ping(&link).await.is_err());
    }
    assert!(failures <= 1, "{failures} calls failed");
}

/// Several connections at once.
async fn several(link: &Link, n: usize) -> Vec<visavis_link::Connection> {
    let mut all = Vec::new();
    for _ in 0..n {
        all.push(link.connection().await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_call_that_was_not_waited_for_does_not_spoil_its_connection() {
    let server = RedisServer::start();
    let options = LinkOptions { connections: 1, ..LinkOptions::new(server.url()) };
    let link = Link::new(options).unwrap();
    for n in 0..20_u64 {
        let hasty = async {
            let mut connection = link.connection().await.unwrap();
            let _: () = redis::cmd("SET").arg("n").arg(n).query_async(&mut connection).await.unwrap();
        };
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), hasty).await;
        let mut connection = link.connection().await.unwrap();
        let echo: u64 = redis::cmd("ECHO").arg(n).query_async(&mut connection).await.unwrap();
        assert_eq!(echo, n, "each call gets its own answer");
    }
}

#[tokio::test]
async fn a_pool_that_is_all_taken_says_so_in_time() {
    let server = RedisServer::start();
    let response_timeout = Duration::from_millis(300);
    let link = Link::new(LinkOptions { connections: 2, response_timeout, ..LinkOptions::new(server.url()) }).unwrap();
    let _held = several(&link, 2).await;
    let began = Instant::now();
    assert!(matches!(link.connection().await, Err(LinkError::Unavailable(why)) if why.contains("taken")));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Sentinels of the machine's own Redis, ended with the test.
struct Sentinel {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Sentinel {
    /// Watches `master` under the name `main`; nothing where the machine has no Redis.
    fn over(master: &RedisServer) -> Option<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        let watch = format!("port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n", master.port());
        fs::write(&file, watch).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").current_dir(folder.path()).stdout(Stdio::null());
        let child = command.spawn().ok()?;
        Some(Self { child, port, _folder: folder })
    }
}

#[tokio::test]
async fn the_master_is_found_through_sentinels() {
    let Some(server) = RedisServer::redis_or_skip(RedisOptions::default()) else { return };
    let sentinel = Sentinel::over(&server).expect("the same binary");
    // The first address is of one that is away.
    let link = link(format!("redis-sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port));
    let began = Instant::now();
    while let Err(error) = ping(&link).await {
        assert!(began.elapsed() < Duration::from_secs(30), "{error}");
        sleep(Duration::from_millis(50)).await;
    }
    let mut connection = link.dedicated().await.unwrap();
    let _: () = redis::cmd("SET").arg("here").arg(1).query_async(&mut connection).await.unwrap();
    assert!(server.command(&["GET", "here"]).ends_with("1\r\n"));
    assert!(link.check_server().await.unwrap().product.starts_with("Redis 7"));
    let unknown = format!("redis-sentinel://127.0.0.1:{}/other", sentinel.port);
    let error = ping(&Link::new(LinkOptions::new(unknown)).unwrap()).await.unwrap_err();
    assert!(matches!(error, LinkError::Unavailable(_)), "{error}");
}

#[test]
fn what_holds_a_password_never_shows_it() {
    let options = LinkOptions::new("redis://anna:s3cret@127.0.0.1:1");
    let link = Link::new(options.clone()).unwrap();
    assert!(!format!("{options:?} {link:?}").contains("s3cret"));
}
