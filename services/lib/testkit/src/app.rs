//! The real binary as a process of its own, with a data directory of its own: started, asked, killed, started again.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Client, Http, Memory, cache_dir, memory_of, signal};

/// Longest time from the start to readiness: a first start fetches models.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Lines for `curl` that a start prints.
const EXAMPLES: usize = 3;

/// What differs from `visavis up` as it comes.
#[derive(Clone, Debug, Default)]
pub struct AppOptions {
    /// Settings as environment variables, such as `VISAVIS__GATEWAY__MAX_IMAGE_BYTES`.
    pub environment: Vec<(String, String)>,
    /// Arguments after those that every test gives.
    pub arguments: Vec<String>,
}

/// The service, running. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct TestApp {
    data: TempDir,
    options: AppOptions,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Watchdog,
    api: SocketAddr,
    admin: SocketAddr,
    log: Log,
}

/// What the process has written, line by line.
type Log = Arc<Mutex<Vec<String>>>;

impl TestApp {
    /// Starts the service on free ports with an empty data directory, and waits until it is ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(AppOptions::default())
    }

    /// The same with other settings.
    #[must_use]
    pub fn start_with(options: AppOptions) -> Self {
        let data = tempfile::Builder::new().prefix("visavis-test-").tempdir().expect("a data directory");
        let mut app = Self { data, options, running: None };
        app.launch();
        app
    }

    /// The service that all tests of one binary share: each takes collections of its own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestApp> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A caller with the admin key.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_over(Http::Any)
    }

    /// A caller with the admin key that insists on a protocol.
    #[must_use]
    pub fn client_over(&self, http: Http) -> Client {
        Client::new(self.address(), &self.certificate(), &self.admin_key(), http)
    }

    /// Where HTTPS is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.now().api
    }

    /// Where metrics are served, in plain HTTP.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.now().admin
    }

    /// The metrics, as text.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin_address());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(url).send().await.expect("metrics are served").text().await.expect("metrics are text")
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The certificate to trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.data.path().join("tls/cert.pem")
    }

    /// The first admin key.
    #[must_use]
    pub fn admin_key(&self) -> String {
        let path = self.key_file();
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }

    /// Everything it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.now().log.lock().expect("the log").join("\n")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.now().child.id()
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        memory_of(self.pid())
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.watchdog.call_off();
            running.child.kill().expect("it can be killed");
            running.child.wait().expect("it has ended");
        }
    }

    /// Asks it to end, without waiting.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits for it to end by itself; gives its exit status, if it left by one.
    pub fn wait(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("it runs");
        let status = running.child.wait().expect("it has ended");
        running.watchdog.call_off();
        status.code()
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    fn key_file(&self) -> PathBuf {
        self.data.path().join("admin.key")
    }

    fn now(&self) -> &Running {
        self.running.as_ref().expect("the service runs")
    }

    fn launch(&mut self) {
        let began = Instant::now();
        let mut command = Command::new(binary());
        command
            .args(["up", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data.path())
            .arg("--admin-key-file")
            .arg(self.key_file())
            .args(&self.options.arguments)
            .env("VISAVIS__MODELS__CACHE_DIR", cache_dir())
            .envs(self.options.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(self.data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
        let watchdog = Watchdog::over(child.id());
        let log = Log::default();
        let (found, addresses) = mpsc::sync_channel(16);
        // Logs go to stderr; what it prints for people, once it is ready, goes to stdout.
        listen(child.stdout.take(), &log, Some(found));
        listen(child.stderr.take(), &log, None);
        let (mut api, mut admin, mut examples) = (None, None, 0);
        while api.is_none() || admin.is_none() || examples < EXAMPLES {
            let left = START_LIMIT.saturating_sub(began.elapsed());
            match addresses.recv_timeout(left) {
                Ok(Found::Api(a)) => api = Some(a),
                Ok(Found::Admin(a)) => admin = Some(a),
                Ok(Found::Example) => examples += 1,
                Err(e) => {
                    drop(child.kill());
                    panic!("not ready, {e}; it wrote:\n{}", log.lock().expect("the log").join("\n"));
                }
            }
        }
        let (Some(api), Some(admin)) = (api, admin) else { unreachable!("both were found") };
        self.running = Some(Running { child, watchdog, api, admin, log });
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the output says.
enum Found {
    Api(SocketAddr),
    Admin(SocketAddr),
    Example,
}

/// Keeps what is written and reports what a person would look for in it: the first address after `https://` is the
/// API's, after `http://` the admin port's, and lines that begin with `curl` are examples.
fn listen(stream: Option<impl Read + Send + 'static>, log: &Log, found: Option<mpsc::SyncSender<Found>>) {
    let (stream, log) = (stream.expect("the stream is piped"), Arc::clone(log));
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let found_here = if line.starts_with("curl ") {
                Some(Found::Example)
            } else {
                let api = address_after(&line, "https://").map(Found::Api);
                api.or_else(|| address_after(&line, "http://").map(Found::Admin))
            };
            log.lock().expect("the log").push(line);
            if let (Some(what), Some(found)) = (found_here, &found) {
                // Nobody listens any more once everything is known.
                drop(found.try_send(what));
            }
        }
    });
}

fn address_after(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(scheme)?;
    rest.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')))
        .next()?
        .trim_end_matches([':', '.'])
        .parse()
        .ok()
}

/// Kills the service when the test process ends without having dropped it: statics are never dropped.
#[derive(Debug)]
struct Watchdog {
    shell: Child,
    _open: Option<ChildStdin>,
}

impl Watchdog {
    fn over(pid: u32) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$0\" 2>/dev/null", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let open = shell.stdin.take();
        Self { shell, _open: open }
    }

    fn call_off(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

/// The binary under test: `VISAVIS_BIN`, else the one beside the running test, brought up to date first.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("VISAVIS_BIN").map_or_else(build_once, PathBuf::from))
}

/// Builds the binary as `cargo test --workspace` would, so that nothing is compiled twice.
#[must_use]
pub fn build_once() -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    // TARGET/PROFILE/deps/TEST
    let folder = test.ancestors().nth(2).expect("a test lies in TARGET/PROFILE/deps");
    let target = folder.parent().expect("a profile lies in the target directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).expect("the repository's root");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--workspace", "--bin", "visavis", "--target-dir"]).arg(target).current_dir(root);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let built = build.status().expect("cargo runs");
    assert!(built.success(), "the service does not compile");
    folder.join("visavis")
}
