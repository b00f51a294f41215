//! What the processes write down. A whole journey with distinctive names, labels, keys, photos and vectors, every kind of
//! refusal on the way, all of our own log lines on: none of it is in any log, and no key, photo or vector in any answer
//! that is a problem. Personal is whatever a caller chooses: ids of subjects, references, labels, names, purposes' texts.

use std::{process::Command, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::Lane;
use queue::{ConsumerOptions, Queue, RedisEngine, RedisOptions, SealedEngine};
use serde_json::{Value, json};
use testkit::{
    Answer, Client, Cluster, ClusterOptions, Image, Person, Picture, SEALING_KEY, binary, encoded, enrolment,
};

use crate::inside;

/// Every crate of ours at its most talkative; the others as an operator has them.
const FILTER: &str = "info,ort=warn,visavis=trace,visavis_gateway=trace,visavis_worker=trace,visavis_queue=trace,\
    visavis_store=trace,visavis_gallery=trace,visavis_link=trace,visavis_models=trace,visavis_inference=trace,\
    visavis_runtime=trace,visavis_vision=trace,visavis_wire=trace,visavis_domain=trace,visavis_onnx=trace";

/// Chosen by the caller, and so perhaps somebody's name.
const PERSONAL: [&str; 10] = [
    "zzsubject.jane.doe",
    "zzexternal-jane@example.org",
    "zzlabelname",
    "zzlabelvalue Jane Doe",
    "zzcollection name",
    "zznotice-version",
    "zzguardian-reference",
    "zzunknown_field",
    "zzfilename.jpg",
    "zzquery",
];
/// Where the journey goes by.
const COLLECTION: &str = "/v1/collections/zzplace";

/// What must not be found, and under which name a failure tells it.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn of(key: &str, photo: &Bytes, vector: &[f64]) -> Self {
        let mut all = Vec::new();
        let secret = |key: &str| key.rsplit('_').next().expect("a secret").to_owned();
        all.push(("a key's secret", secret(key)));
        all.push(("the admin key's secret", secret("vv_cluster_0123456789abcdef0123456789abcdef")));
        let middle = photo.len() / 2 / 3 * 3;
        all.push(("a photo in base64", STANDARD.encode(&photo[middle..middle + 30])));
        all.push(("a photo in hex", hex::encode(&photo[middle..middle + 16])));
        #[expect(clippy::cast_possible_truncation, reason = "it was a single-precision number")]
        let floats: Vec<f32> = vector.iter().map(|v| *v as f32).collect();
        let halves: Vec<u8> = floats.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        let singles: Vec<u8> = floats.iter().flat_map(|v| v.to_le_bytes()).collect();
        for (what, bytes) in [("a vector in half precision", halves), ("a vector in single precision", singles)] {
            all.push((what, hex::encode(&bytes[..12])));
            // Without the ends, which depend on what is around.
            all.push((what, STANDARD.encode(&bytes[..24])));
            all.push((what, format!("{:?}", &bytes[..8]).trim_matches(['[', ']']).to_owned()));
        }
        // As a number is printed, whatever is around it.
        all.extend(vector.iter().take(3).map(|v| ("a vector's value", format!("{v:.6}"))));
        Self(all)
    }

    fn personal(mut self) -> Self {
        self.0.extend(PERSONAL.map(|p| ("a name", p.to_owned())));
        self
    }

    #[track_caller]
    fn absent(&self, from: &str, text: &str) {
        for (what, secret) in &self.0 {
            let line = text.lines().find(|l| l.contains(secret.as_str()));
            assert!(line.is_none(), "{what} ({secret}) is in {from}: {}", line.unwrap_or_default());
        }
    }
}

/// The key that the journey is made with: its own, so that its secret has been through the service.
async fn key(admin: &Client) -> String {
    let scopes = [
        "detect",
        "compare",
        "embed",
        "subjects:read",
        "subjects:write",
        "identify",
        "verify",
        "consents",
        "erase",
        "jobs",
    ];
    let made = admin.post("/v1/api-keys", &json!({"name": "zzkey", "scopes": scopes})).await.expect(201).json;
    made["secret"].as_str().expect("the key, shown once").to_owned()
}

fn whole_enrolment(photo: &Bytes) -> Value {
    let [subject, external, name, value, ..] = PERSONAL;
    let mut body = enrolment(subject, std::slice::from_ref(photo));
    body["external_id"] = external.into();
    body["metadata"] = json!({name: value});
    body["consent"]["notice"] = json!({"version": PERSONAL[5], "lang": "en"});
    body["consent"]["guardian"] = json!({"reference": PERSONAL[6], "relation": "parent"});
    body
}

/// Everything goes well.
async fn journey(client: &Client, photo: &Bytes) -> Vec<f64> {
    let subject = format!("{COLLECTION}/subjects/{}", PERSONAL[0]);
    drop(client.post(&format!("{COLLECTION}/subjects"), &whole_enrolment(photo)).await.expect(201));
    let found = client.get(&subject).await.ok();
    assert_eq!(found["external_id"], PERSONAL[1], "{found}");
    drop(client.patch(&subject, &json!({"metadata": {PERSONAL[2]: "zzlabelvalue Jane Doe, too"}})).await.expect(200));
    drop(client.identify("zzplace", photo).await.expect(200));
    drop(client.verify("zzplace", PERSONAL[0], photo).await.expect(200));
    let body = json!({"source": encoded(photo), "target": encoded(photo)});
    drop(client.post("/v1/compare", &body).await.expect(200));
    let made = client.embeddings(photo.clone()).await.ok();
    let embedding = &made["items"][0]["faces"][0]["embedding"];
    let body = json!({"embedding": embedding, "purpose": "access_control", "filter": {PERSONAL[2]: PERSONAL[3]}});
    drop(client.post(&format!("{COLLECTION}/identify"), &body).await.expect(200));
    let item = json!({"images": [encoded(photo)]});
    let bulk = json!({"kind": "bulk_identify", "collection_id": "zzplace", "items": [item]});
    drop(client.post("/v1/jobs", &bulk).await.expect(202));
    embedding["values"].as_array().expect("values").iter().filter_map(Value::as_f64).collect()
}

/// Everything goes wrong, with as much as possible in the request that must not come back.
async fn mishaps(client: &Client, photo: &Bytes, vector: &[f64], key: &str) -> Vec<Answer> {
    let subjects = format!("{COLLECTION}/subjects");
    let identify = format!("{COLLECTION}/identify");
    let half = photo.slice(..photo.len() / 2);
    let wall = Picture::filled(320, 240, [90, 120, 60]).png();
    let embedding = |contract: &str, values: &[f64]| json!({"embedding": {"contract": contract, "values": values}, "purpose": "access_control"});
    let mut unknown = whole_enrolment(photo);
    unknown[PERSONAL[7]] = PERSONAL[3].into();
    let mut faceless = whole_enrolment(&wall);
    faceless["id"] = "zzsubject.jane.doe.2".into();
    let mut damaged = whole_enrolment(&half);
    damaged["id"] = "zzsubject.jane.doe.3".into();
    let mut answers = vec![
        client.post(&subjects, &whole_enrolment(photo)).await,
        client.post(&subjects, &unknown).await,
        client.post(&subjects, &faceless).await,
        client.post(&subjects, &damaged).await,
        client.post(&identify, &embedding(&"0".repeat(32), vector)).await,
        client.post(&identify, &embedding("no contract", vector)).await,
        client.post(&identify, &json!({"image": {"b64": format!("{}!", STANDARD.encode(photo))}})).await,
        client.post(&identify, &json!({"image": STANDARD.encode(photo)})).await,
        client.post(&identify, &json!({"embedding": vector})).await,
        client.post("/v1/api-keys", &json!({"name": key, "scopes": [key]})).await,
        client.with_key(&format!("{key}x")).get(&subjects).await,
        client.with_key(&STANDARD.encode(key)).get(&subjects).await,
        client.get(&format!("{subjects}/zzsubject.jane.doe.4")).await,
        client.get(&format!("{subjects}?cursor={}", PERSONAL[9])).await,
        client.get(&format!("/v1/NOWHERE?{}={key}", PERSONAL[9])).await,
        client.post_image("/v1/detect", half, Image::Form).await,
    ];
    let form = reqwest::multipart::Form::new()
        .part(PERSONAL[7], reqwest::multipart::Part::text(PERSONAL[3]).file_name(PERSONAL[8]));
    answers.push(client.send(client.request("POST", "/v1/detect").multipart(form)).await);
    let broken = format!("{{\"id\": \"{}\", \"key\": \"{key}\", ", PERSONAL[0]);
    let request = client.request("POST", &subjects).header("content-type", "application/json").body(broken);
    answers.push(client.send(request).await);
    answers
}

/// An enrolment that is given up, and everything that an operator is then shown of it.
async fn dead_letter(cluster: &mut Cluster, client: &Client, photo: &Bytes) -> String {
    let engine = Arc::new(RedisEngine::new(inside::link(cluster), RedisOptions::default()));
    let queue = Queue::new(Arc::new(SealedEngine::new(engine, &inside::keyring()).expect("a key")));
    loop {
        let depth = queue.depth(Lane::Bulk).await.expect("a depth");
        if depth.waiting + depth.in_flight == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::task::block_in_place(|| cluster.worker_mut(0).kill());
    let mut body = whole_enrolment(photo);
    body["id"] = "zzsubject.jane.doe.5".into();
    let request = client.request("POST", &format!("{COLLECTION}/subjects")).header("prefer", "respond-async");
    drop(client.send(request.json(&body)).await.expect(202));
    let failing = queue.consumer(Lane::Bulk, ConsumerOptions::default());
    let delivery = failing.next(1).await.expect("the job").remove(0);
    delivery.bury("no answer after 3 deliveries").await.expect("buried");

    let url = cluster.redis().url();
    let visavis = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("queue").args(arguments).args(["--redis", &url]).env("VISAVIS__SEALING__KEY", SEALING_KEY);
        let done = command.env("VISAVIS__TELEMETRY__FILTER", FILTER).output().expect("the binary runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8([done.stdout, done.stderr].concat()).expect("text")
    };
    let json = visavis(&["ls", "--json"]);
    let line = json.lines().find_map(|l| serde_json::from_str::<Value>(l).ok()).expect("a dead letter");
    let id = line["id"].as_str().expect("an id").to_owned();
    let told = [json, visavis(&["ls"]), visavis(&["show", &id]), visavis(&["retry", &id])].concat();
    assert!(told.contains("enrol") && told.contains("1 back on its lane"), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_problems_tell_no_key_no_photo_no_vector_and_no_name() {
    let set = |name: &str, value: &str| (format!("VISAVIS__TELEMETRY__{name}"), value.to_owned());
    let environment = vec![set("FILTER", FILTER), set("FORMAT", "json")];
    let options = ClusterOptions { gateways: 1, workers: 1, environment, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    let admin = cluster.client();
    let key = key(&admin).await;
    let client = admin.with_key(&key);
    let photo = Person::Astronaut.photo();
    let body = json!({"id": "zzplace", "name": PERSONAL[4], "purposes": ["access_control"]});
    drop(admin.post("/v1/collections", &body).await.expect(201));
    let vector = journey(&client, &photo).await;
    assert!(vector.len() > 100, "a vector to look for");
    let named = client.request("GET", "/v1/collections").header("x-request-id", "zzrequest-1");
    drop(client.send(named.header("idempotency-key", PERSONAL[0])).await);
    let answers = mishaps(&client, &photo, &vector, &key).await;
    assert!(
        answers.iter().all(|a| a.status >= 400),
        "{:?}",
        answers.iter().map(|a| (a.status, a.text())).find(|a| a.0 < 400)
    );
    drop(client.delete(&format!("{COLLECTION}/subjects/{}", PERSONAL[0])).await.expect(204));

    let secrets = Secrets::of(&key, &photo, &vector);
    for answer in answers {
        // A caller's own words may come back to the caller; what is secret or biometric does not.
        secrets.absent(&answer.request, &answer.text());
    }
    let secrets = secrets.personal();
    let worker = cluster.worker(0).output();
    let dead = dead_letter(&mut cluster, &client, &photo).await;
    let logs = [
        ("the gateway's log", cluster.gateway(0).output()),
        ("the worker's log", worker),
        ("what is told of dead letters", dead),
        ("nginx's log", cluster.nginx().output()),
        ("Redis's log", cluster.redis().output()),
    ];
    for (whose, log) in &logs {
        secrets.absent(whose, log);
    }
    // The search finds what is there, and the processes were as talkative as they can be.
    assert!(logs[0].1.contains("zzrequest-1") && logs[3].1.contains("zzrequest-1"), "{}", logs[0].1);
    assert!(logs[1].1.contains("\"DEBUG\""), "{}", logs[1].1);
}
