//! A real S3-compatible server over a folder: rclone, pinned, with a key that it checks. Stopped and started again at the
//! same address by tests of outages.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    process::{Log, Watchdog},
    servers::{Certificates, free_port, rclone},
};

/// Longest time until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);

/// An S3-compatible server with one bucket. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct S3Server {
    folder: TempDir,
    address: SocketAddr,
    tls: Option<Certificates>,
    running: Option<(Child, Watchdog)>,
    log: Log,
}

impl S3Server {
    /// The bucket.
    pub const BUCKET: &str = "visavis";
    /// Whose key it takes.
    pub const ACCESS_KEY: &str = "visavis-test";
    /// The key.
    pub const SECRET_KEY: &str = "0123456789abcdef";

    /// Starts it on a free port, in plain HTTP.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// Starts it with a certificate of its own; none where there is no `openssl` command.
    #[must_use]
    pub fn start_tls() -> Option<Self> {
        let server = Self::start_with(true);
        server.tls.is_some().then_some(server)
    }

    fn start_with(tls: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("visavis-s3-").tempdir().expect("a folder");
        let tls = if tls { Certificates::make(folder.path()) } else { None };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut server = Self { folder, address, tls, running: None, log: Log::default() };
        fs::create_dir_all(server.bucket()).expect("the bucket can be made");
        server.resume();
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a client is told it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}", self.address.port())
    }

    /// The authority to trust, where it speaks TLS.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|t| t.ca.as_path())
    }

    /// Where the bucket's objects lie, as files.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("data").join(Self::BUCKET)
    }

    /// The settings of a service that keeps its objects here.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let set = |key: &str, value: String| (format!("VISAVIS__OBJECTS__{key}"), value);
        vec![
            set("URL", format!("s3://{}/crops-of-tests", Self::BUCKET)),
            set("ENDPOINT", self.endpoint()),
            set("ALLOW_HTTP", (self.tls.is_none()).to_string()),
            set("ACCESS_KEY", Self::ACCESS_KEY.into()),
            set("SECRET_KEY", Self::SECRET_KEY.into()),
            set("TIMEOUT_MS", "20000".into()),
        ]
    }

    /// Kills it; its data stay.
    pub fn stop(&mut self) {
        if let Some((mut child, mut watchdog)) = self.running.take() {
            drop(child.kill());
            drop(child.wait());
            watchdog.call_off();
        }
    }

    /// Starts it again at the same address.
    pub fn resume(&mut self) {
        let keys = format!("{},{}", Self::ACCESS_KEY, Self::SECRET_KEY);
        let mut command = Command::new(rclone());
        command.args(["serve", "s3", "--config", "", "--auth-key", &keys, "--addr", &self.address.to_string()]);
        // Its cache of folders is left as it is: everything goes through it, and with a time of zero its timer runs
        // without a pause and holds requests up for seconds.
        command.args(["--vfs-cache-mode", "off", "--force-path-style=true"]);
        if let Some(tls) = &self.tls {
            command.arg("--cert").arg(&tls.certificate).arg("--key").arg(&tls.key);
        }
        command.arg(self.folder.path().join("data")).env("HOME", self.folder.path());
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("rclone starts");
        let watchdog = Watchdog::over(child.id());
        self.log.follow(child.stdout.take(), |_| {});
        self.log.follow(child.stderr.take(), |_| {});
        self.running = Some((child, watchdog));
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(began.elapsed() < START_LIMIT, "rclone does not listen: {}", self.log.text());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.stop();
    }
}
