//! A Redis Cluster of several primaries, and a primary with a replica and the sentinels that watch them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    process::Watchdog,
    redis::RedisServer,
    redis_options::RedisOptions,
    resp,
    servers::{free_port, valkey},
};

/// Longest time until they know each other.
const START_LIMIT: Duration = Duration::from_secs(60);
/// What sentinels call the primary.
const SERVICE: &str = "main";

/// Several primaries, each with its part of the slots.
#[derive(Debug)]
pub struct RedisCluster(Vec<RedisServer>);

impl RedisCluster {
    /// So many primaries that write everything to disk before they answer.
    #[must_use]
    pub fn start(primaries: u16) -> Self {
        let part = 16_384 / primaries;
        let nodes: Vec<_> = (0..primaries)
            .map(|i| {
                let last = if i + 1 == primaries { 16_383 } else { (i + 1) * part - 1 };
                let slots = Some((i * part, last));
                RedisServer::start_with(RedisOptions { cluster: true, slots, ..RedisOptions::default() })
            })
            .collect();
        for node in &nodes[1..] {
            let met = nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]);
            assert!(met.starts_with("+OK"), "{met}");
        }
        let began = Instant::now();
        let whole = |node: &RedisServer| {
            let info = node.command(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_size:{primaries}\r\n"))
        };
        while !nodes.iter().all(whole) {
            assert!(began.elapsed() < START_LIMIT, "the cluster does not come up");
            thread::sleep(Duration::from_millis(20));
        }
        Self(nodes)
    }

    /// How a client says where it is: by one of its nodes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.0[0].port())
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[RedisServer] {
        &self.0
    }
}

/// Three sentinels. Dropping them ends them.
#[derive(Debug)]
pub struct Sentinels {
    all: Vec<Sentinel>,
    _folder: TempDir,
}

#[derive(Debug)]
struct Sentinel {
    child: Child,
    watchdog: Watchdog,
    port: u16,
}

impl Sentinels {
    /// Watches a primary, whose replica is found through it, and waits until all of them agree about both. A primary that
    /// says nothing for `patience` is given up.
    #[must_use]
    pub fn over(primary: &RedisServer, patience: Duration) -> Self {
        let folder = tempfile::Builder::new().prefix("visavis-sentinels-").tempdir().expect("a folder");
        let all = (0..3)
            .map(|i| {
                let port = free_port();
                let file = folder.path().join(format!("{i}.conf"));
                let text = format!(
                    "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
                     sentinel down-after-milliseconds {SERVICE} {}\nsentinel failover-timeout {SERVICE} 10000\n",
                    folder.path().display(),
                    primary.port(),
                    patience.as_millis(),
                );
                fs::write(&file, text).expect("the configuration is written");
                let mut command = Command::new(valkey());
                command.arg(&file).arg("--sentinel").current_dir(folder.path());
                let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
                let child = child.expect("a sentinel");
                let watchdog = Watchdog::over(child.id());
                Sentinel { child, watchdog, port }
            })
            .collect();
        let sentinels = Self { all, _folder: folder };
        let began = Instant::now();
        while !sentinels.agree() {
            assert!(began.elapsed() < START_LIMIT, "the sentinels do not find each other");
            thread::sleep(Duration::from_millis(50));
        }
        sentinels
    }

    /// How a client says where they are.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.all.iter().map(|s| format!("127.0.0.1:{}", s.port)).collect();
        format!("redis-sentinel://{}/{SERVICE}", hosts.join(","))
    }

    fn agree(&self) -> bool {
        self.all.iter().all(|sentinel| {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, sentinel.port));
            let told = resp::ask(server, &[&["SENTINEL", "MASTER", SERVICE]]).unwrap_or_default();
            let count =
                |name: &str| told.split_once(&format!("\r\n{name}\r\n")).and_then(|(_, rest)| rest.lines().nth(1));
            count("num-slaves") == Some("1") && count("num-other-sentinels") == Some("2")
        })
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for sentinel in &mut self.all {
            sentinel.watchdog.call_off();
            drop(sentinel.child.kill());
            drop(sentinel.child.wait());
        }
    }
}
