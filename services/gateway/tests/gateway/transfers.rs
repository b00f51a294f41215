//! A collection exported and imported: whole, sealed, again and again, and with bounded memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use calls::{export, import, lines};
use domain::{CollectionId, ConsentDraft, EnrolledFace, FaceId, Metadata, Subject, Template, TenantId, Timestamp};
use futures::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use store::{ImportOutcome, Pepper, Subjects, WholeSubject};

use crate::{
    app::{App, answer, consent, contract, image},
    worker::face,
};

/// Calls that every test of transfers makes.
pub mod calls {
    use super::*;

    pub const KEY: &str = "8f1d3b5c7092a4e6b8cdf01325476981a3c5e7092b4d6f8193b5d7f90a1c2e3f";
    pub const MEDIA_TYPE: &str = "application/vnd.visavis.export";

    /// The file of a collection.
    pub async fn export(app: &App, collection: &str) -> Vec<u8> {
        let path = format!("/v1/collections/{collection}/export");
        let response = app.call(Method::POST, &path).header("visavis-export-key", KEY).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
        response.bytes().await.unwrap().to_vec()
    }

    /// What an import answers.
    pub async fn import(app: &App, path: &str, file: Vec<u8>) -> crate::app::Answer {
        let request = app.call(Method::POST, &format!("/v1/collections/{path}"));
        let request = request.header("visavis-export-key", KEY).header("content-type", MEDIA_TYPE);
        answer(request.body(file)).await
    }

    /// The lines of an answer: of the subjects, and the summary.
    pub fn lines(answer: crate::app::Answer) -> (Vec<Value>, Value) {
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = answer.body.as_str().unwrap().to_owned();
        let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(lines.remove(0)["manifest"]["collection"]["id"].is_string());
        let summary = lines.pop().unwrap()["summary"].clone();
        (lines, summary)
    }
}

async fn enrol(app: &App, id: &str, metadata: Value) {
    let body = json!({"id": id, "external_id": format!("no. {id}"), "metadata": metadata, "consent": consent(),
        "images": [image("face"), image("face")]});
    app.post("/v1/collections/staff/subjects", body).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_moves_to_another_service_and_again_changes_nothing() {
    let (from, to) = (App::start().await, App::start().await);
    from.collection("staff").await;
    enrol(&from, "anna", json!({"site": "north"})).await;
    enrol(&from, "bert", json!({})).await;
    let more = json!({"collection_id": "staff", "subject_id": "bert", "purposes": ["door", "access_control"],
        "method": "verbal", "training_allowed": true, "guardian": {"reference": "g-1", "relation": "parent"}});
    let withdrawn = from.post("/v1/consents", more).await.expect(201)["id"].as_str().unwrap().to_owned();
    from.post(&format!("/v1/consents/{withdrawn}/withdraw"), json!({})).await.expect(200);
    let file = export(&from, "staff").await;
    let shown = String::from_utf8(file.clone()).unwrap();
    for plain in ["anna", "north", "signed_form", "access_control", "staff"] {
        assert!(!shown.contains(plain), "{plain} can be read in the file");
    }

    to.collection("people").await;
    let (subjects, summary) = lines(import(&to, "people/import", file.clone()).await);
    assert_eq!(summary, json!({"created": 2, "skipped": 0, "failed": 0, "faces": 4, "crops": 0, "unlisted": 0}));
    assert!(subjects.iter().all(|s| s["status"] == "created" && s["faces"] == 2), "{subjects:?}");
    for id in ["anna", "bert"] {
        let there = |c: &str| format!("/v1/collections/{c}/subjects/{id}");
        assert_eq!(to.get(&there("people")).await.expect(200), from.get(&there("staff")).await.expect(200), "{id}");
        let consents = |c: &str| format!("/v1/consents?collection_id={c}&subject_id={id}");
        let mut expected = from.get(&consents("staff")).await.expect(200);
        for consent in expected["items"].as_array_mut().unwrap() {
            consent["collection_id"] = "people".into();
        }
        assert_eq!(to.get(&consents("people")).await.expect(200), expected, "{id}");
    }
    assert_eq!(to.get(&format!("/v1/consents/{withdrawn}")).await.expect(200)["status"], "withdrawn");

    let (_, summary) = lines(import(&to, "people/import", file.clone()).await);
    assert_eq!((&summary["created"], &summary["skipped"]), (&json!(0), &json!(2)));
    let (subjects, summary) = lines(import(&to, "people/import?on_conflict=fail", file).await);
    assert_eq!(summary["failed"], 2);
    assert_eq!(subjects[0]["problem"]["code"], "conflict");
    assert_eq!(to.get("/v1/collections/people/stats").await.expect(200)["faces"], 4);
    // What came over leaves again: the second file opens and holds the same.
    let (subjects, _) = lines(import(&from, "staff/import", export(&to, "people").await).await);
    assert!(subjects.iter().all(|s| s["status"] == "skipped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn within_a_service_a_copy_has_consents_of_its_own() {
    let app = App::start().await;
    app.collection("staff").await;
    enrol(&app, "anna", json!({})).await;
    app.collection("copy").await;
    lines(import(&app, "copy/import", export(&app, "staff").await).await);
    let consents = async |c: &str| {
        let list = app.get(&format!("/v1/consents?collection_id={c}&subject_id=anna")).await.expect(200);
        list["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (consents("staff").await, consents("copy").await);
    assert_ne!(first, second);
    app.post(&format!("/v1/consents/{second}/withdraw"), json!({})).await.expect(200);
    let faces = async |c: &str| app.get(&format!("/v1/collections/{c}/stats")).await.expect(200)["faces"].clone();
    assert_eq!(
        (faces("staff").await, faces("copy").await),
        (json!(2), json!(0)),
        "the withdrawal is of the copy alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_brings_back_neither_the_erased_nor_a_consent_withdrawn_here() {
    let app = App::start().await;
    app.collection("staff").await;
    for id in ["anna", "bert", "cora"] {
        enrol(&app, id, json!({})).await;
    }
    let file = export(&app, "staff").await;
    app.delete("/v1/collections/staff/subjects/anna").await.expect(204);
    let (subjects, summary) = lines(import(&app, "staff/import", file.clone()).await);
    assert_eq!((&summary["skipped"], &summary["failed"]), (&json!(2), &json!(1)));
    let failed = subjects.iter().find(|s| s["subject_id"] == "anna").unwrap();
    assert_eq!(failed["problem"]["code"], "erased");
    assert_eq!(app.get("/v1/collections/staff/subjects/anna").await.status, 410);
    // The consent was given, and taken back, before the subject came.
    let other = App::start().await;
    other.collection("staff").await;
    let first = lines(import(&other, "staff/import", file.clone()).await).0;
    assert_eq!(first.len(), 3);
    let path = "/v1/consents?collection_id=staff&subject_id=bert";
    let id = other.get(path).await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    other.post(&format!("/v1/consents/{id}/withdraw"), json!({})).await.expect(200);
    lines(import(&other, "staff/import", file).await);
    assert_eq!(other.get(path).await.expect(200)["items"][0]["status"], "withdrawn");
    assert_eq!(other.get("/v1/collections/staff/subjects/bert").await.expect(200)["faces"], json!([]));
}

/// Twenty thousand subjects, straight into the store.
async fn filled(app: &App, subjects: usize) {
    let tenant: TenantId = "default".parse().unwrap();
    let collection: CollectionId = "staff".parse().unwrap();
    let pepper = Pepper::load(&*app.store).await.unwrap();
    let repo = Subjects::new(app.store.clone(), pepper, tenant, collection.clone());
    let draft: ConsentDraft = serde_json::from_value(consent()).unwrap();
    let one = |n: usize| {
        let (id, now) = (format!("s{n}").parse::<domain::SubjectId>().unwrap(), Timestamp::now());
        #[expect(clippy::cast_precision_loss, reason = "some vector")]
        let values: Vec<f32> = (0..512).map(|i| ((n * 31 + i * 17) as f32).sin()).collect();
        let faces = EnrolledFace {
            id: FaceId::generate(),
            subject_id: id.clone(),
            face: face(),
            contract: contract(),
            created_at: now,
        };
        WholeSubject {
            consents: vec![draft.clone().record(collection.clone(), id.clone(), now)],
            subject: Subject { id, external_id: None, metadata: Metadata::default(), created_at: now, updated_at: now },
            crops: Vec::new(),
            seen_at: None,
            faces: vec![(faces, Template::from_embedding(contract(), &values).unwrap())],
        }
    };
    let mut made = futures::stream::iter((0..subjects).map(|n| {
        let (repo, whole) = (repo.clone(), one(n));
        async move { repo.import(&whole, Timestamp::now()).await.unwrap() }
    }))
    .buffer_unordered(64);
    while let Some(outcome) = made.next().await {
        assert!(matches!(outcome, ImportOutcome::Created { faces: 1, left_out: 0, .. }), "{outcome:?}");
    }
}

fn resident_mib() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// Streams the collection of one service straight into the other's: no file in between. What the import says, the bytes
/// that went over, and the most that was resident meanwhile, in MiB.
async fn streamed(from: &App, to: &App) -> (Value, usize, usize) {
    let (bytes, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let timeout = Duration::from_secs(600);
    let request = from.call(Method::POST, "/v1/collections/staff/export").header("visavis-export-key", calls::KEY);
    let exported = request.timeout(timeout).send().await.unwrap();
    let body = exported.bytes_stream().inspect({
        let (bytes, most) = (bytes.clone(), most.clone());
        move |piece| {
            bytes.fetch_add(piece.as_ref().unwrap().len(), Ordering::Relaxed);
            most.fetch_max(resident_mib(), Ordering::Relaxed);
        }
    });
    let request = to.call(Method::POST, "/v1/collections/staff/import").header("visavis-export-key", calls::KEY);
    let request = request.header("content-type", calls::MEDIA_TYPE).timeout(timeout);
    let (subjects, summary) = lines(answer(request.body(reqwest::Body::wrap_stream(body))).await);
    assert_eq!(subjects.len(), 20_000);
    (summary, bytes.load(Ordering::Relaxed), most.load(Ordering::Relaxed))
}

/// `cargo test --release -p visavis-gateway --test gateway -- --ignored --nocapture bounded_memory`
#[ignore = "20,000 subjects take minutes to make"]
#[tokio::test(flavor = "multi_thread")]
async fn a_large_collection_is_exported_and_imported_with_bounded_memory() {
    let (from, to) = (App::start().await, App::start().await);
    from.collection("staff").await;
    to.collection("staff").await;
    filled(&from, 20_000).await;
    // The first time the other store's own pages are filled, which have a bound of their own.
    let (summary, ..) = streamed(&from, &to).await;
    assert_eq!(summary["created"], 20_000);
    let before = resident_mib();
    let began = std::time::Instant::now();
    let (summary, bytes, most) = streamed(&from, &to).await;
    assert_eq!(summary["skipped"], 20_000);
    println!("{bytes} bytes in {:?}; resident {before} MiB before, {most} MiB at most", began.elapsed());
    assert!(bytes > 60_000_000 && most < before + 32, "{bytes} bytes; {before} MiB before, {most} MiB at most");
}
