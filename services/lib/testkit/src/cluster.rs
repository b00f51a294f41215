//! The service as it is deployed: gateways and workers as processes of their own on one Redis, nginx in front, and
//! where a test wants to break connections, a proxy between each process and Redis.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    Client, FaultProxy, Http, Nginx, NginxOptions, RedisOptions, RedisServer, Role, Sentinels, Service, ServiceOptions,
    plain, servers::free_port,
};

/// The key that every gateway is started with.
const ADMIN_KEY: &str = "vv_cluster_0123456789abcdef0123456789abcdef";
/// Longest time until the first gateway has made the certificate.
const CERTIFICATE_LIMIT: Duration = Duration::from_secs(60);

/// How many processes of each kind, and how they are set.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Gateways.
    pub gateways: usize,
    /// Workers.
    pub workers: usize,
    /// Trainers.
    pub trainers: usize,
    /// Whether nginx stands in front.
    pub nginx: bool,
    /// Variables of nginx that differ, such as `VISAVIS_CONNECTIONS_PER_ADDRESS`.
    pub nginx_variables: Vec<(String, String)>,
    /// The Redis they share.
    pub redis: RedisOptions,
    /// Whether every process reaches Redis through a proxy of its own.
    pub proxied: bool,
    /// Whether sentinels watch the Redis and a replica of it, and every process asks them where the primary is.
    pub sentinels: bool,
    /// Settings of every process.
    pub environment: Vec<(String, String)>,
    /// Further settings of the gateways.
    pub gateway_environment: Vec<(String, String)>,
    /// Further settings of the workers.
    pub worker_environment: Vec<(String, String)>,
    /// Further settings of the trainers.
    pub trainer_environment: Vec<(String, String)>,
    /// How much the workers let everything else on the machine go first, 0 to 19.
    pub worker_niceness: u8,
    /// Another binary than the one under test for every process, such as a former release.
    pub binary: Option<PathBuf>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            gateways: 2,
            workers: 2,
            trainers: 0,
            nginx: true,
            nginx_variables: Vec::new(),
            redis: RedisOptions::default(),
            proxied: false,
            sentinels: false,
            environment: Vec::new(),
            gateway_environment: Vec::new(),
            worker_environment: Vec::new(),
            trainer_environment: Vec::new(),
            worker_niceness: 0,
            binary: None,
        }
    }
}

/// Longest time from a worker's readiness until every gateway knows of it.
const WORKERS_LIMIT: Duration = Duration::from_secs(20);
/// Sentinels give a Redis up that says nothing for so long.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// Lines of each process's output that a failed test shows.
const SHOWN: usize = 25;

/// All of it, running. Dropping it kills everything and removes the data.
#[derive(Debug)]
pub struct Cluster {
    // In the order in which they are to end.
    nginx: Option<Nginx>,
    gateways: Vec<Member>,
    workers: Vec<Member>,
    trainers: Vec<Member>,
    watch: Option<Watch>,
    redis: RedisServer,
    folder: TempDir,
    options: ClusterOptions,
}

/// What is beside a Redis that may be replaced.
#[derive(Debug)]
struct Watch {
    sentinels: Sentinels,
    _replica: RedisServer,
}

#[derive(Debug)]
struct Member {
    service: Service,
    proxy: Option<FaultProxy>,
}

impl Cluster {
    /// Starts everything and waits until it is ready.
    #[must_use]
    pub fn start(options: ClusterOptions) -> Self {
        let folder = tempfile::Builder::new().prefix("visavis-cluster-").tempdir().expect("a folder");
        std::fs::write(folder.path().join("admin.key"), format!("{ADMIN_KEY}\n")).expect("the key is written");
        let redis = RedisServer::start_with(options.redis.clone());
        let watch = options.sentinels.then(|| {
            // Without waiting whether others want the same copy.
            drop(redis.command(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]));
            let of = ["--replicaof", "127.0.0.1", &redis.port().to_string()].map(str::to_owned);
            let replica = RedisServer::start_with(RedisOptions { arguments: of.to_vec(), ..options.redis.clone() });
            let began = Instant::now();
            while !replica.command(&["INFO", "replication"]).contains("master_link_status:up") {
                assert!(began.elapsed() < WORKERS_LIMIT, "the replica has no copy");
                thread::sleep(Duration::from_millis(20));
            }
            Watch { sentinels: Sentinels::over(&redis, GIVEN_UP), _replica: replica }
        });
        let (gateways, workers, trainers) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster =
            Self { nginx: None, gateways, workers, trainers, watch, redis, folder, options: options.clone() };
        for i in 0..options.gateways {
            let gateway = cluster.spawn(Role::Gateway, i);
            cluster.gateways.push(gateway);
            // The first makes the certificate that all of them serve with.
            cluster.await_certificate();
        }
        for i in 0..options.workers {
            let worker = cluster.spawn(Role::Worker, i);
            cluster.workers.push(worker);
        }
        for i in 0..options.trainers {
            let trainer = cluster.spawn(Role::Trainer, i);
            cluster.trainers.push(trainer);
        }
        for member in cluster.gateways.iter_mut().chain(&mut cluster.workers).chain(&mut cluster.trainers) {
            member.service.await_ready();
        }
        cluster.await_workers();
        if options.nginx {
            cluster.nginx = Some(Nginx::start(&cluster.nginx_options()));
        }
        cluster
    }

    /// A caller with the admin key: through nginx where there is one, else to the first gateway.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client_over(Http::Any)
    }

    /// The same over a protocol it insists on.
    #[must_use]
    pub fn client_over(&self, http: Http) -> Client {
        Client::new(self.address(), &self.certificate(), ADMIN_KEY, http)
    }

    /// Like [`Self::client`], for more requests at once than one connection carries.
    #[must_use]
    pub fn crowd(&self, connections: usize) -> Client {
        Client::over_connections(connections, self.address(), &self.certificate(), (ADMIN_KEY, Http::Any))
    }

    /// The admin key, for callers that are no [`Client`].
    #[must_use]
    pub fn admin_key(&self) -> &'static str {
        ADMIN_KEY
    }

    /// Where HTTPS is served for callers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.nginx.as_ref().map_or_else(|| self.gateway(0).address(), Nginx::address)
    }

    /// The certificate to trust.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("tls/cert.pem")
    }

    /// How nginx is set; for another one in front of the same gateways.
    #[must_use]
    pub fn nginx_options(&self) -> NginxOptions {
        NginxOptions {
            certificate: self.certificate(),
            key: self.folder.path().join("tls/key.pem"),
            gateway_ca: self.certificate(),
            gateways: self.gateways.iter().map(|g| g.service.address()).collect(),
            variables: self.options.nginx_variables.clone(),
        }
    }

    /// nginx.
    #[must_use]
    pub fn nginx(&self) -> &Nginx {
        self.nginx.as_ref().expect("it was started with nginx")
    }

    /// A gateway.
    #[must_use]
    pub fn gateway(&self, i: usize) -> &Service {
        &self.gateways[i].service
    }

    /// A gateway, to be ended or started again.
    pub fn gateway_mut(&mut self, i: usize) -> &mut Service {
        &mut self.gateways[i].service
    }

    /// A worker.
    #[must_use]
    pub fn worker(&self, i: usize) -> &Service {
        &self.workers[i].service
    }

    /// A worker, to be ended or started again.
    pub fn worker_mut(&mut self, i: usize) -> &mut Service {
        &mut self.workers[i].service
    }

    /// A trainer.
    #[must_use]
    pub fn trainer(&self, i: usize) -> &Service {
        &self.trainers[i].service
    }

    /// A trainer, to be ended or started again.
    pub fn trainer_mut(&mut self, i: usize) -> &mut Service {
        &mut self.trainers[i].service
    }

    /// Starts one more worker and waits until it is ready.
    pub fn add_worker(&mut self) {
        let mut worker = self.spawn(Role::Worker, self.workers.len());
        worker.service.await_ready();
        self.workers.push(worker);
    }

    /// The gateways.
    pub fn gateways(&self) -> impl Iterator<Item = &Service> {
        self.gateways.iter().map(|g| &g.service)
    }

    /// The workers.
    pub fn workers(&self) -> impl Iterator<Item = &Service> {
        self.workers.iter().map(|w| &w.service)
    }

    /// What lies between a gateway and Redis.
    #[must_use]
    pub fn gateway_proxy(&self, i: usize) -> &FaultProxy {
        self.gateways[i].proxy.as_ref().expect("it was started with proxies")
    }

    /// What lies between a worker and Redis.
    #[must_use]
    pub fn worker_proxy(&self, i: usize) -> &FaultProxy {
        self.workers[i].proxy.as_ref().expect("it was started with proxies")
    }

    /// Every proxy.
    pub fn proxies(&self) -> impl Iterator<Item = &FaultProxy> {
        self.gateways.iter().chain(&self.workers).filter_map(|m| m.proxy.as_ref())
    }

    /// Redis.
    #[must_use]
    pub fn redis(&self) -> &RedisServer {
        &self.redis
    }

    /// Redis, to be ended or started again.
    pub fn redis_mut(&mut self) -> &mut RedisServer {
        &mut self.redis
    }

    /// Where everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn spawn(&self, role: Role, i: usize) -> Member {
        let proxy = self.options.proxied.then(|| FaultProxy::start(self.redis.address()));
        let redis = match (&proxy, &self.watch) {
            (Some(proxy), _) => self.redis.url_through(proxy.address()),
            (None, Some(watch)) => watch.sentinels.url(),
            (None, None) => self.redis.url(),
        };
        let mut environment = self.options.environment.clone();
        let mut set = |name: &str, path: PathBuf| environment.push((name.to_owned(), path.display().to_string()));
        if role == Role::Gateway {
            set("VISAVIS__GATEWAY__TLS_CERT_FILE", self.certificate());
            set("VISAVIS__GATEWAY__TLS_KEY_FILE", self.folder.path().join("tls/key.pem"));
        }
        environment.extend(match role {
            Role::Worker => self.options.worker_environment.clone(),
            Role::Trainer => self.options.trainer_environment.clone(),
            _ => self.options.gateway_environment.clone(),
        });
        // A port that is its own again after a restart, since nginx knows it.
        let port = if role == Role::Gateway { free_port() } else { 0 };
        let service = Service::spawn(ServiceOptions {
            role,
            listen: (Ipv4Addr::LOCALHOST, port).into(),
            data_dir: self.folder.path().join(format!("{role:?}-{i}").to_lowercase()),
            key_file: self.folder.path().join("admin.key"),
            certificate: self.certificate(),
            environment,
            arguments: vec!["--redis".to_owned(), redis],
            niceness: if role == Role::Worker { self.options.worker_niceness } else { 0 },
            binary: self.options.binary.clone(),
        });
        Member { service, proxy }
    }

    /// Waits until every gateway knows of every worker.
    fn await_workers(&self) {
        let began = Instant::now();
        let line = format!("\nvisavis_workers {}\n", self.workers.len());
        while !self.gateways().all(|g| plain::get(g.admin_address(), "/metrics").is_ok_and(|m| m.contains(&line))) {
            assert!(began.elapsed() < WORKERS_LIMIT, "the gateways do not see all workers");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn await_certificate(&mut self) {
        let began = Instant::now();
        while !self.certificate().exists() {
            let gateway = &mut self.gateways[0].service;
            let ended = gateway.has_ended() || began.elapsed() > CERTIFICATE_LIMIT;
            assert!(!ended, "the gateway has made no certificate; it wrote:\n{}", gateway.output());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    /// A test that fails shows what the processes had to say.
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let show = |name: String, member: &Member| {
            let output = member.service.try_output().unwrap_or_else(|| "(it does not run)".to_owned());
            // Requests that were answered are of no interest; what was refused has its reason in another line.
            let lines: Vec<_> = output.lines().filter(|l| !l.contains(r#""message":"request""#)).collect();
            let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n");
            drop(writeln!(io::stderr(), "---- {name}\n{last}"));
        };
        self.gateways.iter().enumerate().for_each(|(i, g)| show(format!("gateway {i}"), g));
        self.workers.iter().enumerate().for_each(|(i, w)| show(format!("worker {i}"), w));
        self.trainers.iter().enumerate().for_each(|(i, t)| show(format!("trainer {i}"), t));
    }
}
