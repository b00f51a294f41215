//! The service started from the chart's own manifests: commands, settings, secrets, variables and probes as Kubernetes
//! would have them, behind nginx. So the chart cannot drift from the program, nor alerts and dashboards from its metrics.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::{
    Client, Http, Manifests, Nginx, NginxOptions, Person, Picture, Pod, RedisOptions, RedisServer, S3Server,
    SEALING_KEY, Surroundings, binary, cache_dir, enrolment,
};
use tokio::task::{JoinSet, block_in_place};

use crate::{ALONE, watched};

const ADMIN_KEY: &str = "vv_first_0123456789abcdef0123456789abcdef";
const PASSWORD: &str = "correct-horse-battery-staple";
/// Longest time until jobs lie on a lane that no worker reads.
const WAITING_LIMIT: Duration = Duration::from_secs(10);

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

fn root() -> &'static Path {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_chart_says_runs_serves_scales_and_is_watched() {
    let _alone = ALONE.lock().await;
    let Some(s3) = S3Server::start_tls() else {
        println!("SKIPPED: there is no openssl command");
        return;
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
    let client = Client::new(nginx.address(), &papers.path("ca.crt"), ADMIN_KEY, Http::Any);
    let photo = journey(&client, &s3).await;
    lag_is_what_waits(&manifests, &redis, (&client, &photo), &pods[2..4]).await;
    let shown: Vec<String> = pods.iter().map(Pod::metrics).collect();
    watched::everything_that_is_asked_for_is_shown(&shown);
    let asked = pods[0].address("admin");
    assert_eq!(healthcheck(asked), Some(0));
    block_in_place(|| pods.into_iter().for_each(Pod::stop));
    assert_eq!(healthcheck(asked), Some(69), "nobody is there any more");
}

/// The status of the images' health check.
fn healthcheck(admin: SocketAddr) -> Option<i32> {
    let asked = Command::new(binary()).args(["healthcheck", "--admin-listen", &admin.to_string()]).output();
    asked.expect("the program runs").status.code()
}

/// From a collection to answers, with a crop in the object store in between.
async fn journey(client: &Client, s3: &S3Server) -> Bytes {
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(400).png();
    let body = json!({"id": "staff", "purposes": ["access_control"], "retain_crops": "training"});
    drop(client.post("/v1/collections", &body).await.expect(201));
    drop(client.enrol("staff", "eileen", std::slice::from_ref(&photo)).await.expect(201));
    let consent = json!({"purposes": ["access_control"], "method": "web_form", "training_allowed": true});
    let mut kept = enrolment("eileen-again", std::slice::from_ref(&photo));
    kept["consent"] = consent;
    drop(client.post("/v1/collections/staff/subjects", &kept).await.expect(201));
    let found = client.identify("staff", &photo).await.ok();
    assert_eq!(found["results"][0]["candidates"].as_array().map(Vec::len), Some(2), "both are her: {found}");
    let kept = s3.bucket().join("crops");
    assert!(fs::read_dir(&kept).is_ok_and(|mut f| f.next().is_some()), "no crop below {}", kept.display());
    let verified = client.verify("staff", "eileen", &photo).await.ok();
    assert_eq!(verified["decision"], "match", "{verified}");
    let nobody = client.detect(Bytes::from_static(b"no picture")).await;
    assert_eq!(nobody.status, 415, "{}", nobody.text());
    photo
}

/// KEDA would ask the server for the lag of the groups that the chart names: it must be what nobody has taken.
async fn lag_is_what_waits(
    manifests: &Manifests,
    redis: &RedisServer,
    (client, photo): (&Client, &Bytes),
    workers: &[Pod],
) {
    let scaled = manifests.of_kind("ScaledObject").next().expect("workers are scaled by lag");
    let triggers = scaled["spec"]["triggers"].as_array().expect("triggers");
    let metadata = |lane: &str| &triggers.iter().find(|t| t["name"] == lane).expect("a trigger")["metadata"];
    // Both lanes have been used or joined by now, so that their groups are there.
    assert!(lag(redis, metadata("bulk")) == Some(0), "a bulk lane that nobody uses has no lag");
    assert_eq!(lag(redis, metadata("interactive")), Some(0), "everything was taken");
    workers.iter().for_each(|w| w.pause(true));
    let mut waiting = JoinSet::new();
    for _ in 0..40 {
        let (client, body) = (client.clone(), json!({"image": testkit::encoded(photo)}));
        let request = client.request("POST", "/v1/detect").header("x-deadline-ms", "5000").json(&body);
        waiting.spawn(async move { client.send(request).await.status });
    }
    let stream = metadata("interactive")["stream"].as_str().expect("a stream");
    let began = Instant::now();
    let lagging = loop {
        let (lag, waits) = (lag(redis, metadata("interactive")), untaken(redis, stream));
        if lag.is_some_and(|n| n > 0) && lag == waits {
            break lag;
        }
        assert!(began.elapsed() < WAITING_LIMIT, "the lag is {lag:?} where {waits:?} jobs wait");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!("lag {lagging:?} while workers stand still");
    workers.iter().for_each(|w| w.pause(false));
    let answers = waiting.join_all().await;
    assert!(answers.iter().all(|s| matches!(s, 200 | 503 | 504)), "{answers:?}");
}

/// Lag of the trigger's group, as the server tells it; none where it cannot.
fn lag(redis: &RedisServer, trigger: &Value) -> Option<u64> {
    let text = |key: &str| trigger[key].as_str().expect("a text of the trigger");
    let reply = redis.command(&["XINFO", "GROUPS", text("stream")]);
    let words: Vec<&str> = reply.lines().collect();
    let of = words.iter().position(|w| *w == text("consumerGroup"));
    assert!(of.is_some(), "{} has no group {}: {reply}", text("stream"), text("consumerGroup"));
    let at = words.iter().position(|w| *w == "lag").expect("a server that tells the lag");
    words[at + 1].strip_prefix(':')?.parse().ok()
}

/// Entries of a stream that were delivered to nobody.
fn untaken(redis: &RedisServer, stream: &str) -> Option<u64> {
    let number = |reply: String| reply.lines().find_map(|l| l.strip_prefix(':')?.parse::<u64>().ok());
    let all = number(redis.command(&["XLEN", stream]))?;
    Some(all - number(redis.command(&["XPENDING", stream, "workers"]))?)
}

#[test]
fn every_configuration_that_the_chart_makes_is_one_that_the_program_takes() {
    let folder = root().join("helm/visavis/ci");
    let mut seen = 0;
    for values in fs::read_dir(&folder).expect("scenarios").flatten() {
        let values = values.path();
        let of_repository = values.strip_prefix(root()).expect("a path within").display().to_string();
        let manifests = Manifests::render(&of_repository);
        for config in manifests.of_kind("ConfigMap") {
            let Some(text) = config["data"]["visavis.toml"].as_str() else { continue };
            let scratch = tempfile::tempdir().expect("a folder");
            let file = scratch.path().join("visavis.toml");
            fs::write(&file, text).expect("the file is written");
            let printed = Command::new(binary())
                .args(["config", "print", "--config"])
                .arg(&file)
                .env_clear()
                .env("VISAVIS__REDIS__URL", "redis://redis:6379")
                .env("VISAVIS__OBJECTS__ACCESS_KEY", "key")
                .output()
                .expect("the program runs");
            let said = String::from_utf8_lossy(&printed.stderr);
            assert!(printed.status.success(), "{of_repository}, {}: {said}", config["metadata"]["name"]);
            seen += 1;
        }
        for deployment in manifests.of_kind("Deployment") {
            knows(&deployment["spec"]["template"]["spec"]["containers"][0]["args"][0]);
        }
    }
    assert!(seen > 10, "only {seen} configurations");
}

/// The program has the role that a manifest asks for.
fn knows(role: &Value) {
    let role = role.as_str().expect("a role");
    let asked = Command::new(binary()).args([role, "--help"]).output().expect("the program runs");
    if role == "trainer" && !asked.status.success() {
        println!("SKIPPED: this program has no trainer yet");
        return;
    }
    assert!(asked.status.success(), "the chart asks for `visavis {role}`, which there is not");
}
