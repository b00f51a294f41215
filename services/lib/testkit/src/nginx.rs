//! A real nginx with the configuration of `deploy/nginx`, in front of gateways that tests have started.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    process::{Log, Watchdog},
    servers::{free_port, nginx},
};

/// Longest time until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// What stands behind nginx and what it shows in front.
#[derive(Clone, Debug)]
pub struct NginxOptions {
    /// Certificate chain shown to callers.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// What the gateways' certificates are verified against; they must be good for `localhost`.
    pub gateway_ca: PathBuf,
    /// The gateways, in turn.
    pub gateways: Vec<SocketAddr>,
    /// Variables of the template that differ, such as `VISAVIS_REQUEST_BYTES`.
    pub variables: Vec<(String, String)>,
}

/// nginx, running. Dropping it kills it.
#[derive(Debug)]
pub struct Nginx {
    _folder: TempDir,
    address: SocketAddr,
    child: Child,
    watchdog: Watchdog,
    log: Log,
}

impl Nginx {
    /// Writes the configuration as the official image would, has nginx check it, and starts it on a free port.
    #[must_use]
    pub fn start(options: &NginxOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("visavis-nginx-").tempdir().expect("a folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        configure(folder.path(), address, options);
        let checked = command(folder.path()).arg("-t").output().expect("nginx runs");
        assert!(checked.status.success(), "nginx -t: {}", String::from_utf8_lossy(&checked.stderr));
        let mut child = command(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nginx");
        let watchdog = Watchdog::over_group(child.id());
        let log = Log::default();
        log.follow(child.stdout.take(), |_| {});
        log.follow(child.stderr.take(), |_| {});
        let nginx = Self { _folder: folder, address, child, watchdog, log };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(began.elapsed() < START_LIMIT, "nginx does not listen: {}", nginx.output());
            thread::sleep(Duration::from_millis(10));
        }
        nginx
    }

    /// Where HTTPS is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.log.text()
    }

    /// The lines of its access log. A line is written when its request has ended, so it may come a little later than
    /// the answer.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.output().lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// Waits until the access log has this many lines, and gives them.
    #[must_use]
    pub fn requests_when(&self, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let requests = self.requests();
            if requests.len() >= count {
                return requests;
            }
            assert!(began.elapsed() < START_LIMIT, "{count} requests are not in the log:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process id of its master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Ends the workers too, which would outlive a master that is killed.
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if asked.is_ok_and(|s| s.success()) {
            drop(self.child.wait());
        }
        self.watchdog.call_off();
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(nginx());
    // Started by root, its processes would become a user that may not read the folder.
    let globals = format!("daemon off; pid {}; user {};", folder.join("pid").display(), owner(folder));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).arg("-g").arg(globals);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Who owns the folder, by name as nginx wants it.
fn owner(folder: &Path) -> String {
    let output = Command::new("stat").args(["-c", "%U %G"]).arg(folder).output().expect("stat runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Writes what the official image would make of `deploy/nginx` with these variables.
fn configure(folder: &Path, address: SocketAddr, options: &NginxOptions) {
    let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the root").join("deploy/nginx");
    let servers = options.gateways.iter().map(|g| format!("server {g} max_fails=2 fail_timeout=2s;"));
    let path = |p: &Path| p.display().to_string();
    let mut variables: Vec<(String, String)> = [
        ("VISAVIS_LISTEN", address.to_string()),
        ("VISAVIS_SERVER_NAME", "_".to_owned()),
        ("VISAVIS_TLS_CERTIFICATE", path(&options.certificate)),
        ("VISAVIS_TLS_KEY", path(&options.key)),
        ("VISAVIS_GATEWAYS", servers.collect::<Vec<_>>().join(" ")),
        ("VISAVIS_GATEWAY_CA", path(&options.gateway_ca)),
        ("VISAVIS_GATEWAY_NAME", "localhost".to_owned()),
        ("VISAVIS_RESOLVER", "127.0.0.1".to_owned()),
        ("VISAVIS_REQUEST_BYTES", "67108864".to_owned()),
        ("VISAVIS_CONNECTIONS_PER_ADDRESS", "256".to_owned()),
        ("VISAVIS_TEMP_DIR", path(folder)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    variables.extend(options.variables.iter().cloned());
    let read = |p: &str| fs::read_to_string(deployed.join(p)).unwrap_or_else(|e| panic!("deploy/nginx/{p}: {e}"));
    // The last value of a name wins.
    let filled = variables.iter().rev().fold(read("templates/visavis.conf.template"), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value)
    });
    assert!(!filled.contains("${VISAVIS_"), "a variable of the template is not set");
    fs::create_dir_all(folder.join("conf.d")).expect("a folder");
    fs::write(folder.join("conf.d/visavis.conf"), filled).expect("the configuration is written");
    fs::write(folder.join("nginx.conf"), read("nginx.conf")).expect("the configuration is written");
}
