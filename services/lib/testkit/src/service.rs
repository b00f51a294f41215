//! A process of the real binary in one role: started, asked, paused, killed, started again on its data.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use crate::{
    Client, Http, Memory, Role, ServiceOptions, binary, cache_dir, memory_of,
    process::{Log, Watchdog},
    signal,
};

/// Longest time from the start to readiness: a first start fetches models.
const START_LIMIT: Duration = Duration::from_secs(300);
/// Lines for `curl` that `up` prints.
const EXAMPLES: usize = 3;

/// The key that everything on a shared server is sealed with, for every process that joins it.
pub const SEALING_KEY: &str = "5e415e415e415e415e415e415e415e415e415e415e415e415e415e415e415e41";

/// A process of the service. Dropping it kills it; its data stay.
#[derive(Debug)]
pub struct Service {
    options: ServiceOptions,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Watchdog,
    began: Instant,
    found: Mutex<mpsc::Receiver<Found>>,
    api: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    log: Log,
}

/// What the output says.
enum Found {
    Api(SocketAddr),
    Admin(SocketAddr),
    Example,
}

impl Service {
    /// Starts it on free ports and waits until it is ready.
    #[must_use]
    pub fn start(options: ServiceOptions) -> Self {
        let mut service = Self::spawn(options);
        service.await_ready();
        service
    }

    /// Starts it without waiting; [`Service::await_ready`] must follow before anything else.
    #[must_use]
    pub fn spawn(options: ServiceOptions) -> Self {
        let mut service = Self { options, running: None };
        service.launch();
        service
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
        self.now().api.expect("this role serves HTTPS")
    }

    /// Where metrics are served, in plain HTTP.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.now().admin.expect("it is ready")
    }

    /// The metrics, as text.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin_address());
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(url).send().await.expect("metrics are served").text().await.expect("metrics are text")
    }

    /// The sum of a metric over all its labels that hold `labels`, such as `lane="bulk"`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = self.metrics().await;
        let lines = text.lines().filter(|l| {
            let named = l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            named && l.contains(labels)
        });
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The status of its readiness probe; none while it does not answer.
    pub async fn readiness(&self) -> Option<u16> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().expect("a client");
        let answer = client.get(format!("http://{}/readyz", self.admin_address())).send().await.ok()?;
        Some(answer.status().as_u16())
    }

    /// The certificate to trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.options.certificate.clone()
    }

    /// The first admin key.
    #[must_use]
    pub fn admin_key(&self) -> String {
        let path = &self.options.key_file;
        std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
    }

    /// Everything it has written since it was started.
    #[must_use]
    pub fn output(&self) -> String {
        self.now().log.text()
    }

    /// The same, while it runs.
    pub(crate) fn try_output(&self) -> Option<String> {
        self.running.as_ref().map(|r| r.log.text())
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

    /// Stops it where it is: connections stay open, nothing is answered.
    pub fn pause(&self) {
        signal(self.pid(), "STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// Waits for it to end by itself; gives its exit status, if it left by one.
    pub fn wait(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("it runs");
        let status = running.child.wait().expect("it has ended");
        running.watchdog.call_off();
        status.code()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_none_or(|r| r.child.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Whether it has been started and not been ended by [`Self::kill`] or [`Self::wait`].
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// Starts it again on the same data from another binary; none for the one under test.
    pub fn restart_as(&mut self, binary: Option<PathBuf>) {
        self.options.binary = binary;
        self.restart();
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
        self.await_ready();
    }

    /// Waits until it has printed where it is, which it does once it is ready.
    pub fn await_ready(&mut self) {
        let role = self.options.role;
        let running = self.running.as_mut().expect("it has been started");
        let mut examples = 0;
        let complete = |api: Option<_>, admin: Option<_>, examples| match role {
            Role::Up => api.is_some() && admin.is_some() && examples == EXAMPLES,
            Role::Gateway => api.is_some() && admin.is_some(),
            Role::Worker | Role::Trainer => admin.is_some(),
        };
        let found = running.found.get_mut().expect("nobody else listens");
        while !complete(running.api, running.admin, examples) {
            match found.recv_timeout(START_LIMIT.saturating_sub(running.began.elapsed())) {
                Ok(Found::Api(a)) => running.api = Some(a),
                Ok(Found::Admin(a)) => running.admin = Some(a),
                Ok(Found::Example) => examples += 1,
                Err(e) => {
                    let wrote = running.log.text();
                    self.kill();
                    panic!("{} is not ready, {e}; it wrote:\n{wrote}", role.command());
                }
            }
        }
    }

    fn now(&self) -> &Running {
        self.running.as_ref().expect("the service runs")
    }

    fn launch(&mut self) {
        let options = &self.options;
        let program = options.binary.as_deref().unwrap_or_else(|| binary());
        let mut command = match options.niceness {
            0 => Command::new(program),
            n => {
                // Becomes the service: the process id stays.
                let mut command = Command::new("nice");
                command.args(["-n", &n.to_string()]).arg(program);
                command
            }
        };
        command.arg(options.role.command());
        if options.role.serves() {
            command.args(["--listen", &options.listen.to_string()]).arg("--admin-key-file").arg(&options.key_file);
        }
        command
            .args(["--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(&options.data_dir)
            .args(&options.arguments)
            .env("VISAVIS__MODELS__CACHE_DIR", cache_dir())
            .envs(shares_a_server(options).then_some(("VISAVIS__SEALING__KEY", SEALING_KEY)))
            .envs(options.environment.iter().map(|(k, v)| (k, v)))
            .current_dir(options.data_dir.parent().expect("a data directory lies in a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let watchdog = Watchdog::over(child.id());
        let log = Log::default();
        let (finds, found) = mpsc::sync_channel(16);
        // Logs go to stderr; what it prints for people, once it is ready, goes to stdout.
        log.follow(child.stdout.take(), move |line| {
            if let Some(what) = found_in(line) {
                // Nobody listens any more once everything is known.
                drop(finds.try_send(what));
            }
        });
        log.follow(child.stderr.take(), |_| {});
        self.running = Some(Running { child, watchdog, began, found: Mutex::new(found), api: None, admin: None, log });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether it is not alone with its data, and has to be told the key to them; tests may name another.
fn shares_a_server(options: &ServiceOptions) -> bool {
    let named = options.environment.iter().any(|(name, _)| name.starts_with("VISAVIS__SEALING__KEY"));
    !named && options.arguments.iter().any(|a| a == "--redis")
}

/// Reports what a person would look for in a line: the first address after `https://` is the API's, after `http://` the
/// admin port's, and lines that begin with `curl` are examples.
fn found_in(line: &str) -> Option<Found> {
    if line.starts_with("curl ") {
        return Some(Found::Example);
    }
    let api = address_after(line, "https://").map(Found::Api);
    api.or_else(|| address_after(line, "http://").map(Found::Admin))
}

fn address_after(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(scheme)?;
    rest.split(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':')))
        .next()?
        .trim_end_matches([':', '.'])
        .parse()
        .ok()
}
