//! An erasure with two gateways and two workers: it reaches every place, also what was kept of the person beside the
//! records; its receipt and the audit trail are checked without the service, and every way to tamper with them is found.

use std::path::Path;

use bytes::Bytes;
use memchr::memmem;
use serde_json::{Value, json};
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, enrolment};

use crate::{
    ALONE, decision,
    events::{results, submit},
    evidence::{Desk, done, export},
};

const NAME: &str = "zq7-subject-to-be-forgotten";

/// Whether any file below `folder` holds the text.
fn found_below(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return found_below(&path, text);
        }
        std::fs::read(&path).is_ok_and(|bytes| memmem::find(&bytes, text.as_bytes()).is_some())
    })
}

/// Asks for an erasure; gives its path.
async fn erase(client: &Client, collection: &str, subjects: &[&str]) -> String {
    let body = json!({"collection_id": collection, "subject_ids": subjects, "reason": "asked for by the person"});
    client.post("/v1/erasures", &body).await.expect(202).header("location").to_owned()
}

fn photo(person: Person) -> Bytes {
    Picture::decode(&person.photo()).at_most(300).png()
}

async fn enrol_with_key(client: &Client, subject: &str, image: &Bytes) -> testkit::Answer {
    let request = client.request("POST", "/v1/collections/staff/subjects").header("idempotency-key", subject);
    client.send(request.json(&enrolment(subject, std::slice::from_ref(image)))).await
}

/// A job that is not waited for; its path, once it is done.
async fn identified_later(client: &Client, image: &Bytes) -> String {
    let body = json!({"image": testkit::encoded(image)});
    let request = client.request("POST", "/v1/collections/staff/identify").header("prefer", "respond-async");
    let job = client.send(request.json(&body)).await.expect(202).header("location").to_owned();
    while client.get(&job).await.ok()["state"] != "succeeded" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    job
}

async fn bulk_done(client: &Client, images: &[&Bytes]) -> String {
    let items: Vec<Value> = images.iter().map(|image| json!({"images": [testkit::encoded(image)]})).collect();
    let job = submit(client, "bulk_identify", "staff", &items).await;
    while client.get(&job).await.ok()["state"] != "succeeded" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    job
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_reaches_every_place_and_its_evidence_holds_without_the_service() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let (one, two) = (cluster.gateway(0).client(), cluster.gateway(1).client());
    drop(one.create_collection("staff").await);
    let (hers, his) = (photo(Person::Astronaut), photo(Person::Biden));
    drop(enrol_with_key(&one, NAME, &hers).await.expect(201));
    drop(enrol_with_key(&two, "kept", &his).await.expect(201));
    assert_eq!(enrol_with_key(&two, NAME, &hers).await.expect(201).header("idempotency-replayed"), "true");
    // Every worker has the gallery in memory.
    for _ in 0..6 {
        assert_eq!(decision(&two.identify("staff", &hers).await.ok()), ("match", NAME));
    }
    let job = identified_later(&one, &hers).await;
    assert_eq!(one.get(&job).await.ok()["result"]["results"][0]["candidates"][0]["subject_id"], NAME);
    let bulk = bulk_done(&two, &[&hers, &his]).await;
    let noted = two.get("/v1/audit-events/head").await.ok();

    let erasure = erase(&one, "staff", &[NAME, "never-seen"]).await;
    let record = done(&two, &erasure).await;
    let names: Vec<_> = record["steps"].as_array().expect("steps").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(json!(names), json!(["records", "results", "galleries", "verification"]));
    assert!(record["steps"].as_array().expect("steps").iter().all(|s| s["done"] == true), "{record}");
    let removed = &record["removed"];
    assert_eq!((&removed["subjects"], &removed["faces"], &removed["consents"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!((&removed["results"], &removed["answers"]), (&json!(2), &json!(1)), "{record}");
    assert_eq!(record["verification"]["workers"], 2, "{record}");

    nothing_is_left(&one, &hers, (&job, &bulk)).await;
    assert!(!found_below(cluster.redis().data_dir(), NAME), "the name is in the files of the server");
    receipts(&one, &erasure).await;
    trails(&two, &erasure, &noted).await;
}

async fn nothing_is_left(client: &Client, hers: &Bytes, (job, bulk): (&str, &str)) {
    assert_eq!(decision(&client.identify("staff", hers).await.ok()).0, "no_match");
    drop(client.get(&format!("/v1/collections/staff/subjects/{NAME}")).await.expect(410));
    let told = client.get(job).await.ok();
    assert_eq!((&told["problem"]["code"], &told["problem"]["status"]), (&json!("erased"), &json!(410)), "{told}");
    let lines = results(client, bulk).await;
    assert_eq!(lines[0]["problem"]["code"], "erased", "{}", lines[0]);
    assert_eq!(lines[1]["result"]["results"][0]["candidates"][0]["subject_id"], "kept", "{}", lines[1]);
    // Its request was carried out once, and is not again.
    drop(enrol_with_key(client, NAME, hers).await.expect(410).problem("erased"));
    assert_eq!(client.subjects("staff").await.into_iter().collect::<Vec<_>>(), ["kept"]);
}

async fn receipts(client: &Client, erasure: &str) {
    let desk = Desk::new();
    let keys = desk.keys(client).await;
    let (text, file) = desk.receipt(client, erasure).await;
    assert!(!text.contains(NAME));
    let (status, told) = desk.verify_receipt(&file, &keys, &["--subject", NAME]);
    assert_eq!(status, 0, "{told}");
    assert!(told.contains("was enrolled and has been erased: 1 faces, 1 consents"), "{told}");
    let (status, told) = desk.verify_receipt(&file, &keys, &["--subject", "never-seen"]);
    assert!(status == 0 && told.contains("was not enrolled"), "{told}");
    assert_eq!(desk.verify_receipt(&file, &keys, &["--subject", "kept"]).0, 65);
    let (status, json) = desk.verify_receipt(&file, &keys, &["--json"]);
    let receipt: Value = serde_json::from_str(&json).expect("JSON");
    assert!(status == 0 && !json.contains(NAME), "{json}");
    assert_eq!(receipt["models_trained"], json!([]));

    // Another number of faces in the payload, another signature, another key.
    let parts: Vec<&str> = text.split('.').collect();
    let forged = base64_edit(parts[1], "\"faces\":1", "\"faces\":0");
    for changed in
        [format!("{}.{forged}.{}", parts[0], parts[2]), text[..text.len() - 2].to_owned(), text.replace('.', "")]
    {
        let file = desk.file("changed.jws", &changed);
        let (status, told) = desk.verify_receipt(&file, &keys, &[]);
        assert_eq!(status, 65, "{told}");
    }
    let other = desk.file("other.json", r#"{"keys": []}"#);
    assert!(desk.verify_receipt(&file, &other, &[]).1.contains("not in the key set"));
    // A new key: the old receipt is still good.
    drop(client.post("/v1/signing-keys", &json!({})).await.expect(201));
    let keys = desk.keys(client).await;
    assert_eq!(desk.verify_receipt(&file, &keys, &[]).0, 0);
}

/// A part of a JWS with one text in it replaced.
fn base64_edit(part: &str, from: &str, to: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let json = String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("text");
    assert!(json.contains(from), "{json}");
    URL_SAFE_NO_PAD.encode(json.replacen(from, to, 1))
}

async fn trails(client: &Client, erasure: &str, noted: &Value) {
    let desk = Desk::new();
    let keys = desk.keys(client).await;
    let keys = ["--jwks", keys.to_str().expect("a path")];
    let head = format!("{}:{}", noted["seq"], noted["hash"].as_str().expect("a hash"));
    let lines = export(client).await;
    assert!(!lines.iter().any(|l| l.contains(NAME)), "the trail names nobody");
    let all = [&keys[..], &["--head", &head]].concat();
    let (status, told) = desk.verify_trail(&lines, &all);
    assert!(status == 0 && told.contains("good: "), "{told}");
    // The answer of the service is as good as its text.
    let file = desk.file("head.json", &noted.to_string());
    assert_eq!(desk.verify_trail(&lines, &["--head", file.to_str().expect("a path")]).0, 0);

    let erased = lines.iter().position(|l| l.contains("erasure.completed")).expect("the erasure is on record");
    let refused = |what: &str, lines: Vec<String>, more: &[&str]| {
        let (status, told) = desk.verify_trail(&lines, more);
        assert_eq!(status, 65, "{what}: {told}");
    };
    let with = |at: usize, line: String| [&lines[..at], &[line], &lines[at + 1..]].concat();
    let before = lines[erased - 1].clone();
    refused("changed", with(erased, lines[erased].replace("erasure.completed", "erasure.complete")), &keys);
    refused("changed", with(erased - 1, before.replace("\"outcome\":\"ok\"", "\"outcome\":\"no\"")), &[]);
    refused("removed", [&lines[..erased], &lines[erased + 1..]].concat(), &keys);
    refused("moved", with(erased, before.clone()).into_iter().collect(), &keys);
    let mut swapped = lines.clone();
    swapped.swap(erased - 1, erased);
    refused("swapped", swapped, &[]);
    refused("cut off", lines[..lines.len() - 1].to_vec(), &keys);
    let end = lines.len() - 1;
    refused("cut off before its head", [&lines[..end - 1], &lines[end..]].concat(), &[]);
    // A shorter export that was good once, against a head noted later.
    let later = client.get("/v1/audit-events/head").await.ok();
    let later = format!("{}:{}", later["seq"], later["hash"].as_str().expect("a hash"));
    refused("an older export", lines.clone(), &["--head", &later]);

    // What happened to the person is found by the id, which the trail does not hold.
    let about = client.get(&format!("/v1/audit-events?collection_id=staff&subject_id={NAME}&limit=100")).await.ok();
    let items = about["items"].as_array().expect("items");
    let has = |action: &str| items.iter().filter(|e| e["action"] == action).count();
    assert!(has("POST /v1/collections/{collection}/identify") >= 6, "{about}");
    assert_eq!((has("POST /v1/erasures"), has("erasure.completed")), (1, 1), "{about}");
    let id = erasure.rsplit('/').next().expect("an id");
    assert!(items.iter().any(|e| e["reference"] == id && e["actor"] == "service"), "{about}");
    let decisions = items.iter().filter(|e| e["decisions"] == json!(["match"])).count();
    assert!(decisions >= 6, "{about}");
}

/// On a shared Valkey. `cargo test --release -p visavis-tests --test cluster ten_thousand -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes a minute or two; prints figures"]
async fn ten_thousand_are_erased_under_load() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::start(ClusterOptions { nginx: false, ..ClusterOptions::default() });
    let clients = [cluster.gateway(0).client(), cluster.gateway(1).client()];
    let collection = clients[0].create_collection("staff").await;
    crate::crowd::fill(crate::inside::store(&cluster).await, &collection).await;
    crate::crowd::erased_under_load("valkey, 2 gateways, 2 workers", &clients).await;
}
