//! Retained crops: kept only where the collection's policy and the consent allow, sealed, the very pixels the embedder
//! saw, and gone with whom they are of; on disk and on a real S3-compatible server, which may be away.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use crops::{Crops, In};
use domain::{CollectionId, FaceId, SubjectId, TenantId};
use memchr::memmem;
use objects::Objects;
use prometheus::{HistogramOpts, HistogramVec};
use seal::Keyring;
use serde_json::{Value, json};
use store::{CropOf, Pepper, RedbStore, SealedStore, Store};
use testkit::{AppOptions, Client, FaultProxy, Person, S3Server, TestApp, enrolment};
use vision::{Alignment, Limits, Rgb8};
use worker::{Context, Pipeline, Timings, WorkerConfig};

use crate::{decision, evidence::done, models};

const NAME: &str = "zq5-whose-crop-it-is";

/// Every file below a folder; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|e| e.path());
    paths.flat_map(|p| if p.is_dir() { files(&p) } else { vec![p] }).collect()
}

/// The objects of crops, in a data directory or a bucket.
pub fn crops_in(place: &Path) -> Vec<PathBuf> {
    files(&place.join("crops"))
}

pub async fn keeping(client: &Client, id: &str) {
    let body = json!({"id": id, "purposes": ["access_control"], "retain_crops": "training"});
    let made = client.post("/v1/collections", &body).await.expect(201).json;
    assert_eq!(made["retain_crops"], "training", "{made}");
}

/// An enrolment whose consent allows training.
pub fn trainable(subject: &str, images: &[Bytes]) -> Value {
    let mut body = enrolment(subject, images);
    body["consent"]["training_allowed"] = json!(true);
    body
}

/// The crop of the only face of a subject that has been enrolled in a service that has stopped.
pub async fn kept(folder: &Path, subject: &str, face: &str) -> Rgb8 {
    let ring = Keyring::parse(&fs::read_to_string(folder.join("sealing.key")).expect("a key")).expect("a key");
    let redb: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.join("store.redb")).expect("the store"));
    let store: Arc<dyn Store> = Arc::new(SealedStore::open(redb, Arc::new(ring)).await.expect("its key"));
    let (tenant, collection): (TenantId, CollectionId) =
        ("default".parse().expect("an id"), "kept".parse().expect("an id"));
    let (subject, face): (SubjectId, FaceId) = (subject.parse().expect("an id"), FaceId::new(face).expect("an id"));
    let handle = Pepper::load(&*store).await.expect("a pepper").handle(&tenant, &collection, &subject);
    let objects = Objects::disk(folder.join("objects")).expect("the objects");
    let crops = Crops::open(store, objects).await.expect("its objects");
    let at = In { tenant: &tenant, collection: &collection };
    let (record, png) = crops.read(at, CropOf { handle, face: &face }).await.expect("it opens").expect("it is there");
    assert_eq!((record.side, record.margin), (112, vision::MARGIN));
    vision::decode(&png, &Limits::default()).expect("a picture")
}

async fn pipeline() -> (Pipeline, Context) {
    let (set, runtime) = models::load("sface").await;
    let pipeline = worker::load_pipeline(&WorkerConfig::default(), set, runtime, None).await.expect("a pipeline");
    let histogram = HistogramVec::new(HistogramOpts::new("stages", "stages"), &["stage"]).expect("a histogram");
    let deadline = Instant::now() + Duration::from_secs(120);
    (pipeline, Context { deadline, timings: Arc::new(Timings::new(histogram)) })
}

// Waiting for the service's end must not keep the client's connections from being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crops_are_what_the_embedder_saw_sealed_and_gone_with_their_subject() {
    let mut app = TestApp::start();
    let (client, objects) = (app.client(), app.data_dir().join("objects"));
    keeping(&client, "kept").await;
    drop(client.create_collection("plain").await);

    // The policy forbids; the consent does not allow.
    let subjects = "/v1/collections/kept/subjects";
    let plain = trainable("anybody", &[Person::Biden.photo()]);
    drop(client.post("/v1/collections/plain/subjects", &plain).await.expect(201));
    drop(client.enrol("kept", "silent", &[Person::Biden.photo()]).await.expect(201));
    assert_eq!(crops_in(&objects), Vec::<PathBuf>::new(), "nothing may be kept of these");

    let photos = [(NAME, Person::Astronaut.photo()), ("other", Person::Obama.photo())];
    let mut faces = Vec::new();
    for (name, photo) in &photos {
        let answer = client.post(subjects, &trainable(name, std::slice::from_ref(photo))).await.expect(201).json;
        faces.push(answer["faces"][0]["id"].as_str().expect("an id").to_owned());
    }
    let kept_now = crops_in(&objects);
    assert_eq!(kept_now.len(), 2);
    let folder = app.data_dir().to_owned();
    let unseen = |needle: &[u8], what: &str| {
        for file in files(&folder) {
            // The sample picture of the first run is no one's crop.
            let holds = fs::read(&file).is_ok_and(|b| memmem::find(&b, needle).is_some());
            assert!(!holds || file.ends_with("astronaut.png"), "{what} lies in {}", file.display());
        }
        assert!(files(&folder).iter().all(|f| !f.to_string_lossy().contains(NAME)), "a name in a path");
    };
    unseen(b"\x89PNG\r\n\x1a\n", "a picture");
    unseen(NAME.as_bytes(), "a name");

    app.terminate();
    assert_eq!(app.wait(), Some(0), "a clean end");
    let (pipeline, context) = pipeline().await;
    for ((name, photo), face) in photos.iter().zip(&faces) {
        let crop = kept(&folder, name, face).await;
        assert_eq!((crop.width(), crop.height()), (184, 184));
        unseen(&crop.data()[crop.data().len() / 2..][..24], "a row of pixels");
        let inner = vision::without_margin(&crop, Alignment::Arcface112).expect("its middle");
        let served = pipeline.analyse(photo.clone(), 1, &context).await.expect("a face").faces.remove(0).template;
        let trained = pipeline.embed_one(&inner, &context).await.expect("a template");
        let cosine: f32 = served.to_f32().iter().zip(trained.to_f32()).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "training would see another face than serving: {cosine}");
    }

    app.restart();
    let client = app.client();
    drop(client.delete(&format!("{subjects}/{NAME}")).await.expect(204));
    assert_eq!(crops_in(&objects).len(), 1, "gone before it was acknowledged");
    assert_eq!(decision(&client.identify("kept", &Person::Obama.photo()).await.ok()), ("match", "other"));
    drop(client.delete(&format!("{subjects}/other/faces/{}", faces[1])).await.expect(204));
    assert_eq!(crops_in(&objects), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn crops_go_with_the_permission_the_policy_and_the_collection() {
    let app = TestApp::start();
    let (client, objects) = (app.client(), app.data_dir().join("objects"));
    keeping(&client, "kept").await;
    let enrol = async |name: &str| {
        let body = trainable(name, &[Person::Astronaut.photo()]);
        let answer = client.post("/v1/collections/kept/subjects", &body).await.expect(201).json;
        answer["consent_id"].as_str().expect("an id").to_owned()
    };

    // The permission to train is withdrawn; another consent, without it, keeps the subject enrolled.
    let consent = enrol("a").await;
    let without = json!({"collection_id": "kept", "subject_id": "a", "purposes": ["access_control"], "method": "form"});
    drop(client.post("/v1/consents", &without).await.expect(201));
    assert_eq!(crops_in(&objects).len(), 1);
    let done = client.post(&format!("/v1/consents/{consent}/withdraw"), &json!({})).await.ok();
    assert_eq!(done["faces_erased"], 0, "{done}");
    assert_eq!(crops_in(&objects).len(), 0);
    assert_eq!(decision(&client.identify("kept", &Person::Astronaut.photo()).await.ok()), ("match", "a"));
    drop(client.delete("/v1/collections/kept/subjects/a").await.expect(204));

    // The policy changes.
    drop(enrol("b").await);
    assert_eq!(crops_in(&objects).len(), 1);
    let changed = client.patch("/v1/collections/kept", &json!({"retain_crops": "none"})).await.ok();
    assert_eq!(changed["retain_crops"], "none");
    assert_eq!(crops_in(&objects).len(), 0);
    drop(client.patch("/v1/collections/kept", &json!({"retain_crops": "all"})).await.expect(400));

    // The collection goes.
    drop(client.patch("/v1/collections/kept", &json!({"retain_crops": "training"})).await.ok());
    drop(enrol("c").await);
    assert_eq!(crops_in(&objects).len(), 1);
    drop(client.delete("/v1/collections/kept").await.expect(204));
    assert_eq!(crops_in(&objects).len(), 0);
}

/// A sweep erases whose consent has ended, the object of the crop with them, before it answers.
#[tokio::test]
async fn crops_go_with_whom_retention_takes() {
    let every = ("VISAVIS__RETENTION__SWEEP_EVERY_MS".to_owned(), "0".to_owned());
    let app = TestApp::start_with(AppOptions { environment: vec![every], ..AppOptions::default() });
    let (client, objects) = (app.client(), app.data_dir().join("objects"));
    keeping(&client, "kept").await;
    let mut body = trainable("ends", &[Person::Astronaut.photo()]);
    // Long enough for two enrolments on a busy machine.
    let (began, end) = (Instant::now(), Duration::from_secs(6));
    body["consent"]["expires_at"] = json!(domain::Timestamp::now().plus(end));
    drop(client.post("/v1/collections/kept/subjects", &body).await.expect(201));
    drop(client.post("/v1/collections/kept/subjects", &trainable("stays", &[Person::Biden.photo()])).await.expect(201));
    assert_eq!(crops_in(&objects).len(), 2);
    let sweep = "/v1/collections/kept/retention/sweep";
    assert_eq!(client.post(sweep, &json!({"dry_run": false})).await.ok()["erased"], 0);
    assert_eq!(crops_in(&objects).len(), 2, "nobody was due");
    tokio::time::sleep(end.saturating_sub(began.elapsed()) + Duration::from_millis(50)).await;
    let swept = client.post(sweep, &json!({"dry_run": false})).await.ok();
    assert_eq!((&swept["erased"], &swept["subjects"][0]["subject_id"]), (&json!(1), &json!("ends")), "{swept}");
    assert_eq!(crops_in(&objects).len(), 1, "the object went before it was answered");
    assert_eq!(decision(&client.identify("kept", &Person::Biden.photo()).await.ok()), ("match", "stays"));
}

#[tokio::test]
async fn on_a_server_that_may_be_away_nothing_is_half_done() {
    let mut server = S3Server::start();
    let app = TestApp::start_with(AppOptions { environment: server.environment(), ..AppOptions::default() });
    let (client, bucket) = (app.client(), server.bucket().join("crops-of-tests"));
    keeping(&client, "kept").await;
    let enrol = async |name: &str| {
        client.post("/v1/collections/kept/subjects", &trainable(name, &[Person::Astronaut.photo()])).await
    };
    drop(enrol("a").await.expect(201));
    assert_eq!(crops_in(&bucket).len(), 1);
    let bytes = fs::read(&crops_in(&bucket)[0]).expect("an object");
    assert!(memmem::find(&bytes, b"PNG").is_none() && bytes.len() > 10_000, "sealed, {} bytes", bytes.len());
    assert!(
        files(app.data_dir()).iter().all(|f| !f.starts_with(app.data_dir().join("objects/crops"))),
        "and there alone"
    );

    server.stop();
    let answer = enrol("b").await.expect(503);
    drop(answer.problem("store_unavailable"));
    drop(client.get("/v1/collections/kept/subjects/b").await.expect(404));
    // Who keeps no crops does not need the place.
    drop(client.enrol("kept", "silent", &[Person::Biden.photo()]).await.expect(201));
    // An erasure takes effect, and says that it is not finished.
    let answer = client.delete("/v1/collections/kept/subjects/a").await.expect(503);
    assert!(answer.text().contains("nobody can read its crops"), "{}", answer.text());
    drop(client.get("/v1/collections/kept/subjects/a").await.expect(410));
    assert_eq!(crops_in(&bucket).len(), 1, "its object, which no key opens");

    server.resume();
    drop(client.delete("/v1/collections/kept/subjects/a").await.expect(410));
    assert_eq!(crops_in(&bucket).len(), 0, "repeating finished it");
    drop(enrol("b").await.expect(201));
    assert_eq!(crops_in(&bucket).len(), 1);
    drop(client.delete("/v1/collections/kept").await.expect(204));
    assert_eq!(crops_in(&bucket).len(), 0);
}

/// A server that deletes and whose answers are lost has deleted. The erasure ends, and its receipt counts what was there
/// and not what was left for the attempt that came through.
#[tokio::test]
async fn deletions_whose_answers_are_lost_are_finished_and_counted() {
    let server = S3Server::start();
    let proxy = FaultProxy::start(server.address());
    let mut environment = server.environment();
    environment.retain(|(key, _)| !key.ends_with("__ENDPOINT") && !key.ends_with("__TIMEOUT_MS"));
    environment.push(("VISAVIS__OBJECTS__ENDPOINT".into(), format!("http://localhost:{}", proxy.address().port())));
    environment.push(("VISAVIS__OBJECTS__TIMEOUT_MS".into(), "1000".into()));
    let app = TestApp::start_with(AppOptions { environment, ..AppOptions::default() });
    let (client, bucket) = (app.client(), server.bucket().join("crops-of-tests"));
    keeping(&client, "kept").await;
    let photos = [("a", Person::Astronaut), ("b", Person::Biden), ("c", Person::Obama)];
    for (name, person) in photos {
        let body = trainable(name, &[person.photo()]);
        drop(client.post("/v1/collections/kept/subjects", &body).await.expect(201));
    }
    assert_eq!(crops_in(&bucket).len(), 3);

    proxy.withhold_answers_to("DELETE ");
    let path = "/v1/collections/kept/subjects/a";
    let answer = client.delete(path).await.expect(503);
    assert!(answer.text().contains("not all of their objects are deleted"), "{}", answer.text());
    // Said only once it is so.
    drop(client.delete(path).await.expect(410));
    assert_eq!(crops_in(&bucket).len(), 2);
    let body = json!({"collection_id": "kept", "subject_ids": ["b"]});
    let erasure = client.post("/v1/erasures", &body).await.expect(202).header("location").to_owned();
    let ended = done(&client, &erasure).await;
    assert_eq!(crops_in(&bucket).len(), 1, "of whom nobody erased");
    assert_eq!(ended["removed"]["crops"], 1, "{ended}");
}
