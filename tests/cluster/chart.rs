//! The service started from the chart's own manifests: commands, settings, secrets, variables and probes as Kubernetes
//! would have them, behind nginx. So the chart cannot drift from the program, nor alerts and dashboards from its metrics.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::{
    Client, Manifests, Person, Picture, Pod, RedisServer, S3Server, Target, binary, bound_this_test_to, enrolment,
};
use tokio::task::{JoinSet, block_in_place};

use crate::{
    ALONE,
    installed::{Installed, root},
    watched,
};

/// Tests of `e2e` that start services of their own.
const OF_THEIR_OWN: [&str; 5] = ["hostile", "crops::", "erasure::", "journey::", "promotion::"];
/// Longest time until jobs lie on a lane that no worker reads.
const WAITING_LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_chart_says_runs_serves_scales_and_is_watched() {
    let _alone = ALONE.lock().await;
    let Some(installed) = Installed::start_or_skip() else { return };
    let client = installed.client();
    let photo = journey(&client, installed.keeps_objects().then_some(&installed.s3)).await;
    lag_is_what_waits(&installed, (&client, &photo)).await;
    if installed.manifests.deployments("trainer").is_empty() {
        println!("SKIPPED: what is asked of a trainer, and so whether all is shown: these values have none");
    } else {
        let shown: Vec<String> = installed.pods.iter().map(Pod::metrics).collect();
        watched::everything_that_is_asked_for_is_shown(&shown);
    }
    let asked = installed.pods[0].address("admin");
    assert_eq!(healthcheck(asked), Some(0));
    installed.stop();
    assert_eq!(healthcheck(asked), Some(69), "nobody is there any more");
}

/// All that callers can see of a service, of this one: the tests of `e2e` that share a service ask what the chart has
/// installed, through nginx. Those that look into a service of their own, or attack one, would show nothing about it.
/// `cargo test --workspace --test cluster -- --ignored --nocapture end_to_end`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "runs another suite; .ci/run does so"]
async fn what_the_chart_says_passes_the_end_to_end_suite() {
    let _alone = ALONE.lock().await;
    bound_this_test_to(Duration::from_secs(45 * 60));
    let Some(installed) = Installed::start_or_skip() else { return };
    let origin = format!("https://{}", installed.nginx.address());
    let environment = Target::environment(&origin, installed.ca_file(), installed.key_file());
    let mut suite = Command::new(env!("CARGO"));
    suite.current_dir(root()).args(["test", "--locked", "--workspace", "--test", "e2e"]).envs(environment);
    // As it was built itself, so that nothing is built twice.
    suite.args((!cfg!(debug_assertions)).then_some("--release")).arg("--");
    suite.args(OF_THEIR_OWN.iter().flat_map(|name| ["--skip", name]));
    let done = block_in_place(|| suite.output()).expect("cargo runs");
    let told = String::from_utf8_lossy(&done.stdout);
    println!("{told}");
    assert!(done.status.success(), "{}\n{}", String::from_utf8_lossy(&done.stderr), installed.nginx.output());
    let passed = told.lines().filter(|l| l.ends_with("... ok")).count();
    let asked = installed.nginx.requests().len();
    assert!(passed > 50 && asked > passed, "{passed} tests passed with {asked} requests through nginx");
    installed.stop();
}

/// The status of the images' health check.
fn healthcheck(admin: SocketAddr) -> Option<i32> {
    let asked = Command::new(binary()).args(["healthcheck", "--admin-listen", &admin.to_string()]).output();
    asked.expect("the program runs").status.code()
}

/// From a collection to answers, with a crop in the object store in between where there is one.
async fn journey(client: &Client, s3: Option<&S3Server>) -> Bytes {
    let photo = Picture::decode(&Person::Astronaut.photo()).at_most(400).png();
    let body =
        json!({"id": "staff", "purposes": ["access_control"], "retain_crops": s3.map_or("none", |_| "training")});
    drop(client.post("/v1/collections", &body).await.expect(201));
    drop(client.enrol("staff", "eileen", std::slice::from_ref(&photo)).await.expect(201));
    let consent = json!({"purposes": ["access_control"], "method": "web_form", "training_allowed": true});
    let mut kept = enrolment("eileen-again", std::slice::from_ref(&photo));
    kept["consent"] = consent;
    drop(client.post("/v1/collections/staff/subjects", &kept).await.expect(201));
    let found = client.identify("staff", &photo).await.ok();
    assert_eq!(found["results"][0]["candidates"].as_array().map(Vec::len), Some(2), "both are her: {found}");
    if let Some(kept) = s3.map(|s| s.bucket().join("crops")) {
        assert!(fs::read_dir(&kept).is_ok_and(|mut f| f.next().is_some()), "no crop below {}", kept.display());
    }
    let verified = client.verify("staff", "eileen", &photo).await.ok();
    assert_eq!(verified["decision"], "match", "{verified}");
    let nobody = client.detect(Bytes::from_static(b"no picture")).await;
    assert_eq!(nobody.status, 415, "{}", nobody.text());
    photo
}

/// KEDA would ask the server for the lag of the groups that the chart names: it must be what nobody has taken.
async fn lag_is_what_waits(installed: &Installed, (client, photo): (&Client, &Bytes)) {
    let (Installed { manifests, redis, .. }, workers) = (installed, &installed.pods[2..4]);
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
