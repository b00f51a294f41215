//! Ten thousand people erased while others are searched for: how long it takes, and what the searches notice. Included by
//! path, for each engine of the store.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::{
    Consent, ConsentDraft, ContractId, EnrolledFace, Face, FaceId, JobId, Quality, QualityLevel, Subject, SubjectId,
    Template, TenantId, Timestamp,
};
use serde_json::{Value, json};
use store::{EnrolSubject, Enrolment, Pepper, Store, Subjects};
use testkit::{Client, Person, Picture};
use tokio::task::JoinSet;

use crate::evidence::{Desk, done, export};

/// People of the crowd.
pub const CROWD: usize = 10_000;
/// Callers that search meanwhile.
const CALLERS: usize = 4;
/// Values of a template of the default model.
const DIM: usize = 128;
/// Enrolments at the same time.
const TOGETHER: usize = 64;

/// A unit vector that is nobody's.
fn template(contract: ContractId, n: usize) -> Template {
    let mut state = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 32_768.0 - 1.0
    };
    let values: Vec<f32> = (0..DIM).map(|_| next()).collect();
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    let unit: Vec<f32> = values.iter().map(|v| v / length).collect();
    Template::from_embedding(contract, &unit).expect("a unit vector")
}

fn enrolment(contract: ContractId, n: usize) -> Enrolment {
    let (now, id) = (Timestamp::now(), SubjectId::new(format!("crowd-{n}")).expect("an id"));
    let quality = Quality { score: 80.0, level: QualityLevel::High, components: Default::default(), reasons: vec![] };
    let face = Face {
        bounding_box: Default::default(),
        landmarks: Default::default(),
        detection_score: 0.9,
        pose: Default::default(),
        quality,
    };
    let face = EnrolledFace { id: FaceId::generate(), subject_id: id.clone(), face, contract, created_at: now };
    let draft: ConsentDraft =
        serde_json::from_value(json!({"purposes": ["access_control"], "method": "web_form"})).expect("a draft");
    let consent: Consent = draft.record("staff".parse().expect("an id"), id.clone(), now);
    Enrolment {
        subject: EnrolSubject::New(Subject {
            id,
            external_id: None,
            metadata: Default::default(),
            created_at: now,
            updated_at: now,
        }),
        faces: vec![(face, template(contract, n).into())],
        crops: Vec::new(),
        consent: Some(consent),
        required_consent: None,
        collection: None,
        job_id: JobId::generate(),
        reply: Bytes::from_static(b"enrolled"),
        accepted_at: None,
        now,
    }
}

/// Enrols the crowd from inside the store, into a collection as the service made it.
pub async fn fill(store: Arc<dyn Store>, collection: &Value) {
    let contract: ContractId = collection["contract"].as_str().expect("a contract").parse().expect("a contract");
    let pepper = Pepper::load(&*store).await.expect("the store");
    let subjects =
        Subjects::new(store, pepper, TenantId::new("default").expect("an id"), "staff".parse().expect("an id"));
    let mut writes = JoinSet::new();
    for n in 0..CROWD {
        if writes.len() >= TOGETHER {
            writes.join_next().await;
        }
        let subjects = subjects.clone();
        writes.spawn(async move { subjects.enrol(&enrolment(contract, n)).await.expect("enrolled") });
    }
    writes.join_all().await;
}

/// Searches until it is told to stop; how long each took, and what went wrong.
async fn search(client: Client, photo: Bytes, stop: Arc<AtomicBool>) -> (Vec<Duration>, BTreeMap<String, usize>) {
    let (mut times, mut wrong) = (Vec::new(), BTreeMap::new());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.identify("staff", &photo).await;
        let best = answer.json["results"][0]["candidates"][0]["subject_id"].clone();
        if answer.status == 200 && best == "kept" {
            times.push(began.elapsed());
        } else {
            *wrong.entry(format!("{} {}", answer.status, answer.json["code"])).or_default() += 1;
        }
    }
    (times, wrong)
}

/// Searches for so long, or until `work` is done; what was measured, and the outcome of the work.
async fn beside<T>(clients: &[Client], photo: &Bytes, work: impl Future<Output = T>) -> (Vec<Duration>, T) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for i in 0..CALLERS {
        callers.spawn(search(clients[i % clients.len()].clone(), photo.clone(), Arc::clone(&stop)));
    }
    let outcome = work.await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for (times, wrong) in callers.join_all().await {
        assert!(wrong.is_empty(), "searches noticed: {wrong:?}");
        all.extend(times);
    }
    all.sort_unstable();
    (all, outcome)
}

fn told(what: &str, times: &[Duration], over: Duration) {
    let at = |q: usize| times.get(times.len().saturating_sub(1) * q / 100).copied().unwrap_or_default();
    let rate = times.len() as f64 / over.as_secs_f64();
    println!("{what}: {rate:.1} searches/s, p50 {:.0?}, p95 {:.0?}, p99 {:.0?}", at(50), at(95), at(99));
}

/// Erases the crowd while others are searched for, and checks what is left and the receipt.
pub async fn erased_under_load(engine: &str, clients: &[Client]) {
    let photo = Picture::decode(&Person::Biden.photo()).at_most(300).png();
    drop(clients[0].enrol("staff", "kept", std::slice::from_ref(&photo)).await.expect(201));
    let quiet = Duration::from_secs(10);
    // Galleries are in memory, connections are made.
    drop(beside(clients, &photo, tokio::time::sleep(Duration::from_secs(3))).await);
    let (times, ()) = beside(clients, &photo, tokio::time::sleep(quiet)).await;
    told(&format!("{engine}, before"), &times, quiet);

    let ids: Vec<String> = (0..CROWD).map(|n| format!("crowd-{n}")).collect();
    let began = Instant::now();
    let (times, (accepted, erasure, record)) = beside(clients, &photo, async {
        let body = json!({"collection_id": "staff", "subject_ids": ids});
        let answer = clients[0].post("/v1/erasures", &body).await.expect(202);
        let (accepted, erasure) = (began.elapsed(), answer.header("location").to_owned());
        let record = done(&clients[0], &erasure).await;
        (accepted, erasure, record)
    })
    .await;
    let took = began.elapsed();
    told(&format!("{engine}, meanwhile"), &times, took);
    println!("{engine}: {CROWD} subjects accepted in {accepted:.2?}, erased and receipted in {took:.2?}");
    for step in record["steps"].as_array().expect("steps") {
        println!("  {} by {}", step["name"], step["done_at"]);
    }
    assert_eq!(record["removed"]["subjects"], CROWD, "{record}");
    assert_eq!(record["removed"]["faces"], CROWD, "{record}");
    let stats = clients[0].get("/v1/collections/staff/stats").await.ok();
    assert_eq!((&stats["subjects"], &stats["faces"]), (&json!(1), &json!(1)));
    let desk = Desk::new();
    let keys = desk.keys(&clients[0]).await;
    let (text, file) = desk.receipt(&clients[0], &erasure).await;
    println!("  a receipt of {} KB", text.len() / 1024);
    assert_eq!(desk.verify_receipt(&file, &keys, &["--subject", "crowd-9999"]).0, 0);
    let lines = export(&clients[0]).await;
    let (status, said) = desk.verify_trail(&lines, &["--jwks", keys.to_str().expect("a path")]);
    assert_eq!(status, 0, "{said}");
    println!("  {}", said.lines().next().unwrap_or_default());
}
