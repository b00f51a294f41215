//! Everything the chart installs, as processes: gateways, workers and trainer exactly as its manifests say, on a Redis and
//! an object store as its values want them, behind nginx.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use testkit::{
    Client, Http, Manifests, Nginx, NginxOptions, Pod, RedisOptions, RedisServer, S3Server, SEALING_KEY, Surroundings,
    binary, cache_dir,
};
use tokio::task::block_in_place;

const ADMIN_KEY: &str = "vv_first_0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct-horse-battery-staple";

/// Files for the secrets that the values name, made by the script that makes them for Docker Compose.
struct Papers(tempfile::TempDir);

impl Papers {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new(root().join("docker/secrets")).arg(folder.path()).output().expect("bash and openssl");
        assert!(made.status.success(), "docker/secrets: {}", String::from_utf8_lossy(&made.stderr));
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        read(&self.path(name))
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file that the test has made")
}

/// The chart's values for production want TLS towards Redis, which only the machine's own Redis speaks.
fn redis() -> (RedisServer, &'static str) {
    let tls = RedisOptions { tls: true, user: Some(("visavis".into(), PASSWORD.into())), ..RedisOptions::default() };
    match RedisServer::redis_or_skip(tls) {
        Some(server) => (server, "helm/visavis/ci/production-values.yaml"),
        None => {
            let user = Some(("default".into(), PASSWORD.into()));
            let server = RedisServer::start_with(RedisOptions { user, ..RedisOptions::default() });
            (server, "deploy/kustomize/values/production.yaml")
        }
    }
}

fn secret(entries: &[(&str, String)]) -> BTreeMap<String, String> {
    entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()
}

fn surroundings(papers: &Papers, redis: &RedisServer, s3: &S3Server) -> Surroundings {
    let mut secrets = BTreeMap::new();
    let mut add = |name: &str, entries: &[(&str, String)]| {
        secrets.insert(name.to_owned(), secret(entries));
    };
    add("visavis-sealing", &[("sealing.key", SEALING_KEY.into())]);
    add("visavis-admin", &[("admin.key", ADMIN_KEY.into())]);
    add("visavis-redis", &[("password", PASSWORD.into())]);
    add("visavis-gateway-tls", &[("tls.crt", papers.read("gateway.crt")), ("tls.key", papers.read("gateway.key"))]);
    let keys = [("access-key", S3Server::ACCESS_KEY.to_owned()), ("secret-key", S3Server::SECRET_KEY.to_owned())];
    add("visavis-objects", &keys);
    add("visavis-objects-ca", &[("ca.crt", read(s3.ca_file().expect("it speaks TLS")))]);
    let here = redis.address().to_string();
    if redis.url().starts_with("rediss") {
        add("visavis-redis-ca", &[("ca.crt", read(&redis.ca()))]);
    }
    Surroundings {
        secrets,
        claims: [("visavis-models".to_owned(), cache_dir())].into(),
        addresses: vec![
            ("redis.example.org:6379".into(), here.clone()),
            ("redis:6379".into(), here),
            ("https://s3.example.org:9000".into(), s3.endpoint()),
        ],
    }
}

/// Model files as an operator would have brought them: the machine's settings for pip are not the pod's.
fn bring_models() {
    let brought = Command::new(binary()).args(["models", "fetch"]).env("VISAVIS_CACHE_DIR", cache_dir()).output();
    let brought = brought.expect("the program runs");
    assert!(brought.status.success(), "{}", String::from_utf8_lossy(&brought.stderr));
}

/// The service, installed and started.
pub struct Installed {
    pub manifests: Manifests,
    pub redis: RedisServer,
    pub s3: S3Server,
    /// Two gateways, two workers, and what else there is.
    pub pods: Vec<Pod>,
    pub nginx: Nginx,
    papers: Papers,
}

impl Installed {
    /// Installs it and waits until all of it is started; none, and said so, where certificates cannot be made.
    pub fn start_or_skip() -> Option<Self> {
        let Some(s3) = S3Server::start_tls() else {
            println!("SKIPPED: there is no openssl command");
            return None;
        };
        let ((redis, values), papers) = (redis(), Papers::make());
        bring_models();
        let (manifests, around) = (Manifests::render(values), surroundings(&papers, &redis, &s3));
        let start = |name: &str| Pod::start(&manifests, name, &around);
        // Two of each show all that more would.
        let [gateways, workers] = ["gateway", "worker"].map(|component| manifests.deployments(component));
        assert_eq!((gateways.len(), workers.len()), (1, 1), "one class of each in {values}");
        let mut pods: Vec<Pod> = [&gateways[0], &gateways[0], &workers[0], &workers[0]].map(|n| start(n)).into();
        // Where the values have one: the machine's Redis decides which values these are.
        pods.extend(manifests.deployments("trainer").iter().map(|name| start(name)));
        block_in_place(|| pods.iter_mut().for_each(Pod::await_started));
        let nginx = Nginx::start(&NginxOptions {
            certificate: papers.path("front.crt"),
            key: papers.path("front.key"),
            gateway_ca: papers.path("ca.crt"),
            gateways: pods[..2].iter().map(|p| p.address("https")).collect(),
            variables: vec![("VISAVIS_GATEWAY_NAME".into(), "gateway".into())],
        });
        Some(Self { manifests, redis, s3, pods, nginx, papers })
    }

    /// Whether the values name an object store.
    pub fn keeps_objects(&self) -> bool {
        let mut configs = self.manifests.of_kind("ConfigMap").filter_map(|c| c["data"]["visavis.toml"].as_str());
        configs.any(|text| text.contains("s3://"))
    }

    /// A caller with the admin key, through nginx.
    pub fn client(&self) -> Client {
        Client::new(self.nginx.address(), &self.ca_file(), ADMIN_KEY, Http::Any)
    }

    /// What nginx's certificate is verified against.
    pub fn ca_file(&self) -> PathBuf {
        self.papers.path("ca.crt")
    }

    /// A file with the admin key.
    pub fn key_file(&self) -> PathBuf {
        let path = self.papers.path("admin-key-of-the-test");
        fs::write(&path, ADMIN_KEY).expect("the file is written");
        path
    }

    /// Stops all of it in order.
    pub fn stop(self) {
        block_in_place(|| self.pods.into_iter().for_each(Pod::stop));
    }
}
