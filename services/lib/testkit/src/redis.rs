//! A real Redis or Valkey as a process of its own: started, killed, stopped in its tracks, started again on its data.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    Memory, memory_of,
    process::{Log, Watchdog, signal},
    redis_options::{Product, RedisOptions},
    resp,
    servers::{Certificates, free_port, valkey},
};

/// Longest time from the start to the first answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Another process may take a port between its choice and its use.
const ATTEMPTS: usize = 5;

/// A server, running. Dropping it kills it and removes its data.
#[derive(Debug)]
pub struct RedisServer {
    data: TempDir,
    options: RedisOptions,
    certificates: Option<Certificates>,
    /// Where clients connect.
    port: u16,
    /// Without TLS; the same as `port` where there is none.
    plain: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    watchdog: Watchdog,
    log: Log,
}

impl RedisServer {
    /// A Valkey that writes everything to disk before it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(RedisOptions::default())
    }

    /// The same with other settings; fails the test where the server cannot be had.
    #[must_use]
    pub fn start_with(options: RedisOptions) -> Self {
        Self::try_start(options).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The machine's own Redis with these settings, or a line that says what was left out.
    #[must_use]
    pub fn redis_or_skip(options: RedisOptions) -> Option<Self> {
        match Self::try_start(RedisOptions { product: Product::Redis, ..options }) {
            Ok(server) => Some(server),
            Err(why) => {
                // Past the test harness, which would hide it as the output of a test that passed.
                drop(writeln!(io::stderr(), "SKIPPED: {why}"));
                None
            }
        }
    }

    /// How a client says where it is, with the user's name and password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_through(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// The same at another address, such as a proxy's.
    #[must_use]
    pub fn url_through(&self, address: SocketAddr) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let user = self.options.user.as_ref().map(|(name, password)| format!("{name}:{password}@"));
        format!("{scheme}://{}{address}", user.unwrap_or_default())
    }

    /// Where clients connect, on the loopback interface.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The port of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority to trust where it serves TLS.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.certificates.as_ref().expect("it was started with TLS").ca.clone()
    }

    /// A certificate and its key for whoever connects, where it asks for them.
    #[must_use]
    pub fn client_identity(&self) -> (PathBuf, PathBuf) {
        self.certificates.as_ref().expect("it was started with TLS").client.clone()
    }

    /// Where its files lie.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").child.id()
    }

    /// Its memory.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        memory_of(self.pid())
    }

    /// Everything it has written since it was started.
    #[must_use]
    pub fn output(&self) -> String {
        self.running.as_ref().map(|r| r.log.text()).unwrap_or_default()
    }

    /// Sends one command and gives the reply as it came, errors included.
    #[must_use]
    pub fn command(&self, command: &[&str]) -> String {
        self.try_command(command).unwrap_or_else(|e| panic!("{command:?}: {e}; the server wrote:\n{}", self.output()))
    }

    /// The same.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn try_command(&self, command: &[&str]) -> io::Result<String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.plain));
        match &self.options.user {
            Some((name, password)) => resp::ask(server, &[&["AUTH", name, password], command]),
            None => resp::ask(server, &[command]),
        }
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.watchdog.call_off();
            drop(running.child.kill());
            drop(running.child.wait());
        }
    }

    /// Starts it again on its data and port, killing it first if it runs.
    pub fn restart(&mut self) {
        self.kill();
        self.launch().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Stops it where it is: connections stay open, nothing is answered.
    pub fn pause(&self) {
        signal(self.pid(), "STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    fn try_start(options: RedisOptions) -> Result<Self, String> {
        let data = tempfile::Builder::new().prefix("visavis-redis-").tempdir().expect("a data directory");
        let certificates = if options.tls {
            Some(Certificates::make(data.path()).ok_or("no openssl command to make certificates with")?)
        } else {
            None
        };
        let mut server = Self { data, options, certificates, port: 0, plain: 0, running: None };
        for attempt in 1.. {
            server.port = free_port();
            server.plain = if server.options.tls { free_port() } else { server.port };
            match server.launch() {
                Err(why) if attempt < ATTEMPTS && why.contains("Address already in use") => {}
                result => return result.map(|()| server),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn launch(&mut self) -> Result<(), String> {
        let binary = match self.options.product {
            Product::Valkey => valkey(),
            Product::Redis => Path::new("redis-server"),
        };
        let mut command = Command::new(binary);
        command
            .args(self.options.command_line([self.port, self.plain], self.data.path(), self.certificates.as_ref()))
            .current_dir(self.data.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("{} cannot be started: {e}", binary.display()))?;
        let watchdog = Watchdog::over(child.id());
        let (log, (ready, is_ready)) = (Log::default(), mpsc::sync_channel(1));
        log.follow(child.stdout.take(), move |line| {
            if line.contains("Ready to accept connections") {
                ready.try_send(()).ok();
            }
        });
        // An end of its output, because it ended, ends the wait as well.
        let waited = is_ready.recv_timeout(START_LIMIT);
        self.running = Some(Running { child, watchdog, log });
        let answers = waited.is_ok() && self.try_command(&["PING"]).is_ok_and(|r| r.starts_with("+PONG"));
        if !answers {
            let wrote = self.output();
            self.kill();
            return Err(format!("{} does not serve; it wrote:\n{wrote}", binary.display()));
        }
        if self.options.cluster { self.own_slots() } else { Ok(()) }
    }

    fn own_slots(&self) -> Result<(), String> {
        let began = Instant::now();
        let (first, last) = self.options.slots.unwrap_or((0, 16_383));
        // Refused where it knows them from before.
        let given = self.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        if self.options.slots.is_some() {
            return Ok(());
        }
        while !self.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            if began.elapsed() > START_LIMIT {
                return Err(format!("the cluster does not come up: {given}\n{}", self.output()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
