//! nginx with the configuration that is shipped, in front of real gateways.

use std::{collections::BTreeMap, process::Command};

use bytes::Bytes;
use serde_json::{Value, json};
use testkit::{Client, Cluster, ClusterOptions, Http, Nginx, NginxOptions, Person, SmallDisk, binary};

/// Gateways' and nginx's limit in the test about bodies.
const BODY: usize = 1 << 20;

fn gateways(count: usize) -> Cluster {
    let limits = [("VISAVIS__LIMITS__REQUEST_BYTES", BODY), ("VISAVIS__LIMITS__IMAGE_BYTES", BODY)];
    let environment = limits.map(|(name, bytes)| (name.to_owned(), bytes.to_string())).to_vec();
    Cluster::start(ClusterOptions {
        gateways: count,
        workers: 0,
        nginx: false,
        gateway_environment: environment,
        ..ClusterOptions::default()
    })
}

fn in_front_of(cluster: &Cluster, variables: &[(&str, String)]) -> Nginx {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Nginx::start(&NginxOptions { variables, ..cluster.nginx_options() })
}

fn caller(cluster: &Cluster, nginx: &Nginx, http: Http) -> Client {
    Client::new(nginx.address(), &cluster.certificate(), &cluster.gateway(0).admin_key(), http)
}

/// How many requests each gateway served.
fn served(requests: &[Value]) -> BTreeMap<String, usize> {
    let mut by_gateway = BTreeMap::new();
    for request in requests {
        *by_gateway.entry(request["gateway"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    by_gateway
}

#[tokio::test]
async fn gateways_take_turns_and_one_that_died_is_passed_over() {
    let mut cluster = gateways(2);
    let nginx = in_front_of(&cluster, &[]);
    let client = caller(&cluster, &nginx, Http::Any);
    for _ in 0..10 {
        let answer = client.get("/v1/collections").await.expect(200);
        assert_eq!(answer.version, reqwest::Version::HTTP_2);
    }
    let turns = served(&nginx.requests_when(10));
    assert_eq!(turns.values().collect::<Vec<_>>(), [&5, &5], "{turns:?}");

    cluster.gateway_mut(1).kill();
    for i in 0..20 {
        // Nothing has been sent to the one that refuses the connection, so that a write may go to the other as well.
        let key = json!({"name": format!("k{i}"), "scopes": ["detect"]});
        drop(client.post("/v1/api-keys", &key).await.expect(201));
    }
    cluster.gateway_mut(0).kill();
    let answer = client.get("/v1/collections").await.expect(503);
    let detail = answer.problem("overloaded");
    assert!(detail.contains("idempotency"), "{detail}");
    assert_eq!((answer.header("retry-after"), &answer.json["retryable"]), ("1", &Value::Bool(true)));

    cluster.gateway_mut(0).restart();
    drop(client.get("/v1/collections").await.expect(200));
}

#[tokio::test]
async fn nginx_and_the_gateways_refuse_the_same_bodies_in_the_same_words() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[("VISAVIS_REQUEST_BYTES", BODY.to_string())]);
    let client = caller(&cluster, &nginx, Http::Any);
    let direct = cluster.gateway(0).client();
    for caller in [&client, &direct] {
        let fits = caller.detect(Bytes::from(vec![0; BODY])).await;
        assert_ne!(fits.status, 413, "{}", fits.text());
    }
    let [through, past] = [&client, &direct].map(|c| c.detect(Bytes::from(vec![0; BODY + 1])));
    let (through, past) = (through.await.expect(413), past.await.expect(413));
    assert_eq!(through.problem("payload_too_large"), past.problem("payload_too_large"));
    let fields = |answer: &Value| answer.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    assert_eq!(fields(&through.json), fields(&past.json));
    // The second of the two never saw a gateway.
    let gateway = |i: usize| nginx.requests_when(2)[i]["gateway"].as_str().unwrap_or_default().to_owned();
    assert_eq!((gateway(0).is_empty(), gateway(1).is_empty()), (false, true));
}

#[test]
fn the_documented_limit_is_the_gateways_own() {
    let output = Command::new(binary()).args(["config", "print"]).output().expect("the binary runs");
    let settings: toml::Table = String::from_utf8_lossy(&output.stdout).parse().expect("TOML");
    let readme = include_str!("../../deploy/nginx/README.md");
    let documented = readme.lines().find(|l| l.starts_with("| `VISAVIS_REQUEST_BYTES`")).expect("it is documented");
    let own = settings["limits"]["request_bytes"].as_integer().expect("a number");
    assert!(documented.contains(&format!("`{own}`")), "{documented} is not {own}");
}

#[tokio::test]
async fn only_tls_13_is_spoken_and_both_versions_of_http() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[]);
    let old = caller(&cluster, &nginx, Http::OverTls12);
    assert!(old.try_send(old.request("GET", "/livez")).await.is_err());
    for (http, version) in [(Http::One, reqwest::Version::HTTP_11), (Http::Two, reqwest::Version::HTTP_2)] {
        let client = caller(&cluster, &nginx, http);
        assert_eq!(client.get("/livez").await.expect(200).version, version);
    }
}

#[tokio::test]
async fn gateways_that_cannot_prove_who_they_are_are_not_spoken_to() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[("VISAVIS_GATEWAY_NAME", "elsewhere.example".to_owned())]);
    let client = caller(&cluster, &nginx, Http::Any);
    drop(client.get("/livez").await.expect(503).problem("overloaded"));
}

#[tokio::test]
async fn request_ids_pass_and_the_log_names_nobody() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[]);
    let client = caller(&cluster, &nginx, Http::Any);
    let path = "/v1/collections/staff/subjects/anna.smith?cursor=secret-query";
    let request = client.request("GET", path).header("x-request-id", "call-1").header("x-forwarded-for", "9.9.9.9");
    let answer = client.send(request).await.expect(404);
    assert_eq!(answer.header("x-request-id"), "call-1");
    // One that is no id is replaced, and never quoted.
    let answer = client.send(client.request("GET", "/livez").header("x-request-id", "a\"b")).await.expect(200);
    let id = answer.header("x-request-id").to_owned();
    assert!(!id.is_empty() && !id.contains('"'), "{id}");
    let requests = nginx.requests_when(2);
    assert_eq!((&requests[0]["request_id"], &requests[0]["area"]), (&"call-1".into(), &"/v1/collections".into()));
    assert_eq!((&requests[1]["request_id"], &requests[1]["area"]), (&id.as_str().into(), &"/livez".into()));
    let output = nginx.output();
    for personal in ["anna", "secret-query", "127.0.0.1\"", "9.9.9.9", &cluster.gateway(0).admin_key()] {
        let lines: Vec<_> = output.lines().filter(|l| l.contains(personal)).collect();
        assert!(lines.is_empty(), "{personal} is in the log: {lines:?}");
    }
}

#[tokio::test]
async fn the_log_tells_areas_of_the_api_and_no_other_word_of_a_path() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[]);
    let client = caller(&cluster, &nginx, Http::One);
    let document = client.get("/openapi.json").await.ok();
    let paths = document["paths"].as_object().expect("paths").keys();
    let area = |path: &String| {
        let second = path.strip_prefix("/v1/").map(|rest| rest.split('/').next().unwrap_or_default().to_owned());
        second.map_or_else(|| path.clone(), |second| format!("/v1/{second}"))
    };
    let areas: std::collections::BTreeSet<String> = paths.map(area).collect();
    assert!(areas.len() > 10, "{areas:?}");
    let others =
        ["/v1/jane-doe", "/v1/jane-doe/x", "/v1/collectionsjane", "/v1//jane", "/v2/jane", "/jane", "/v1/%6aane"];
    for path in areas.iter().map(String::as_str).chain(others) {
        drop(client.get(path).await);
    }
    let logged: Vec<String> = nginx.requests_when(1 + areas.len() + others.len())[1..]
        .iter()
        .map(|r| r["area"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = areas.iter().map(String::as_str).chain(others.map(|_| "other"));
    assert_eq!(logged, expected.collect::<Vec<_>>(), "an area that is new goes into the template");
    assert!(!nginx.output().contains("jane"), "{}", nginx.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_finds_no_room_is_refused_and_the_log_names_nobody_even_then() {
    let Some(disk) = SmallDisk::mount_or_skip(1) else { return };
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[("VISAVIS_TEMP_DIR", disk.path().display().to_string())]);
    disk.fill_but(64);
    let client = caller(&cluster, &nginx, Http::Any);
    let path = "/v1/collections/staff/subjects/anna.smith/faces";
    let large = client.request("POST", path).header("content-type", "image/png").body(vec![7; 900_000]);
    drop(client.send(large).await.expect(500).problem("internal"));
    assert_eq!(nginx.requests_when(1)[0]["area"], "/v1/collections");
    assert!(!nginx.output().contains("anna"), "{}", nginx.output());
}

#[tokio::test]
async fn too_many_at_once_from_one_address_are_told_so() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[("VISAVIS_CONNECTIONS_PER_ADDRESS", "1".to_owned())]);
    let client = caller(&cluster, &nginx, Http::Any);
    let photo = Person::Astronaut.photo();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (client, photo) = (client.clone(), photo.clone());
        requests.spawn(async move { client.detect(photo).await });
    }
    let answers = requests.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert!(!refused.is_empty(), "all were let through");
    for answer in refused {
        drop(answer.problem("rate_limited"));
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn what_nginx_itself_cannot_read_is_refused_as_a_problem() {
    let cluster = gateways(1);
    let nginx = in_front_of(&cluster, &[]);
    // Over HTTP/2 nginx closes the connection instead.
    let client = caller(&cluster, &nginx, Http::One);
    let long = client.request("GET", "/livez").header("x-padding", "p".repeat(40_000));
    drop(client.send(long).await.expect(400).problem("invalid_request"));
    for http in [Http::One, Http::Two] {
        let client = caller(&cluster, &nginx, http);
        let odd = client.request("TRACE", "/openapi.json");
        drop(client.send(odd).await.expect(405).problem("method_not_allowed"));
    }
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = plain.get(format!("http://{}/livez", nginx.address())).send().await.expect("an answer");
    let answer = testkit::Answer::read("plain HTTP".into(), answer).await.expect("a body").expect(400);
    drop(answer.problem("invalid_request"));
    // None of them went further.
    assert_eq!(served(&nginx.requests_when(4)), BTreeMap::from([(String::new(), 4)]));
}
