//! A stand-in for the worker: takes jobs off the real queue and answers by what the image's bytes say.
//! `face`, `two_faces`, `no_face`, `bad`, `silent` (never answers), `problem:<slug>`.
//! Items of bulk jobs it works off in order; a strand stops at a `silent` item.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use domain::{
    BoundingBox, CollectionId, Consent, Decision, EnrolledFace, ErrorCode, Face, FaceId, JobId, Landmarks, Lane, Pose,
    Problem, Quality, QualityComponents, QualityLevel, ResolvedThreshold, Subject, Template, TenantId, ThresholdSpec,
    Timestamp,
};
use parking_lot::Mutex;
use queue::{ConsumerOptions, Delivery, Queue};
use store::{EnrolSubject, Enrolment, ItemResult, Jobs, Mention, Outcome, Pepper, Store, Subjects};
use tokio_util::task::AbortOnDropHandle;
use wire::v1::{self, Envelope, Reply, envelope::Request, reply};

use crate::app::contract;

/// Runs until it is dropped.
pub struct Worker {
    /// Envelopes it has seen, without their images.
    pub seen: Arc<Mutex<Vec<Envelope>>>,
    /// Jobs taken.
    pub taken: Arc<AtomicUsize>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Worker {
    pub fn start(queue: Queue, store: Arc<dyn Store>) -> Self {
        let (seen, taken) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let tasks = [Lane::Interactive, Lane::Bulk].map(|lane| {
            let consumer = queue.consumer(lane, ConsumerOptions::default());
            let (store, seen, taken) = (store.clone(), Arc::clone(&seen), taken.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                let mut held = Vec::new();
                loop {
                    for delivery in consumer.next(8).await.unwrap() {
                        taken.fetch_add(1, Ordering::SeqCst);
                        held.extend(serve(&store, &seen, delivery).await);
                    }
                }
            }))
        });
        Self { seen, taken, _tasks: tasks.into() }
    }

    pub fn last(&self) -> Envelope {
        self.seen.lock().last().cloned().unwrap()
    }
}

/// Answers, or hands the delivery back to be held.
async fn serve(store: &Arc<dyn Store>, seen: &Mutex<Vec<Envelope>>, delivery: Delivery) -> Option<Delivery> {
    let envelope = delivery.envelope.clone();
    seen.lock().push(envelope.clone());
    if images(&envelope).iter().any(|i| &i.data[..] == b"silent") {
        return Some(delivery);
    }
    if let Some(Request::Bulk(strand)) = &envelope.request {
        if !work_off(store, &envelope, strand).await {
            return Some(delivery);
        }
        delivery.settle(&Reply { job_id: envelope.job_id, ..Reply::default() }).await.unwrap();
        return None;
    }
    let outcome = outcome(store, &envelope).await;
    let timing = |stage: &str, micros| v1::StageTiming { stage: stage.into(), micros };
    let reply = Reply {
        job_id: envelope.job_id.clone(),
        worker: "stand-in".into(),
        model_version: "fake-1".into(),
        timings: vec![timing("queue", 250), timing("decode", 1_500), timing("unheard_of", 1)],
        outcome: Some(outcome.unwrap_or_else(|p| reply::Outcome::Problem(p.into()))),
    };
    if envelope.keep_result {
        let jobs = Jobs::new(store.clone(), &TenantId::new(&envelope.tenant).unwrap());
        let result = match &reply.outcome {
            Some(reply::Outcome::Problem(p)) => Err(Problem::from(p.clone())),
            _ => Ok(wire::encode_reply(&reply)),
        };
        let about = mentions(store, &envelope, &reply).await;
        let job = JobId::new(&envelope.job_id).unwrap();
        jobs.finish_about(&job, result, &about, Timestamp::now()).await.unwrap();
    }
    delivery.settle(&reply).await.unwrap();
    None
}

/// Whom a reply tells of.
async fn mentions(store: &Arc<dyn Store>, e: &Envelope, reply: &Reply) -> Vec<Mention> {
    let (pepper, tenant) = (Pepper::load(&**store).await.unwrap(), TenantId::new(&e.tenant).unwrap());
    let Some((collection, named)) = e.request.as_ref().and_then(wire::told_of) else { return Vec::new() };
    let mention = |id: &domain::SubjectId| Mention {
        collection: collection.clone(),
        handle: pepper.handle(&tenant, &collection, id),
    };
    named.iter().chain(&wire::told_by(reply)).map(mention).collect()
}

/// Trades the items of a strand for results; `false` if one of them is never to be answered.
async fn work_off(store: &Arc<dyn Store>, e: &Envelope, strand: &v1::BulkRequest) -> bool {
    let jobs = Jobs::new(store.clone(), &TenantId::new(&e.tenant).unwrap());
    let job = JobId::new(e.job_id.rsplit_once('.').unwrap().0).unwrap();
    for index in jobs.open_items(&job, (strand.strand, strand.strands), 10_000).await.unwrap() {
        let Some(bytes) = jobs.item(&job, index).await.unwrap() else { continue };
        let request = match wire::decode_item(bytes).unwrap().request.unwrap() {
            v1::bulk_item::Request::Enrol(r) => Request::Enrol(r),
            v1::bulk_item::Request::Identify(r) => Request::Identify(r),
        };
        let one = Envelope { job_id: format!("{job}.i{index}"), request: Some(request), ..e.clone() };
        if images(&one).iter().any(|i| &i.data[..] == b"silent") {
            return false;
        }
        let outcome = outcome(store, &one).await;
        let succeeded = outcome.is_ok();
        let outcome = Some(outcome.unwrap_or_else(|p| reply::Outcome::Problem(p.into())));
        let reply = Reply { job_id: one.job_id, model_version: "fake-1".into(), outcome, ..Reply::default() };
        let result = ItemResult { index, reply: wire::encode_reply(&reply), succeeded, about: Vec::new() };
        jobs.finish_items(&job, &[result], Timestamp::now()).await.unwrap();
    }
    true
}

fn images(e: &Envelope) -> Vec<v1::Image> {
    match e.request.as_ref().unwrap() {
        Request::Detect(r) => r.images.clone(),
        Request::Embed(r) => r.images.clone(),
        Request::Enrol(r) => r.images.clone(),
        Request::Identify(r) => r.images.clone(),
        Request::Verify(r) => r.image.iter().cloned().collect(),
        Request::Compare(r) => r.source.iter().chain(&r.targets).cloned().collect(),
        Request::CatchUp(_)
        | Request::Bulk(_)
        | Request::Train(_)
        | Request::Gate(_)
        | Request::Promotion(_)
        | Request::Prepare(_) => Vec::new(),
    }
}

fn look(image: &v1::Image) -> Result<Face, Problem> {
    match std::str::from_utf8(&image.data).unwrap_or("bad") {
        "face" => Ok(face()),
        "two_faces" => Err(Problem::new(ErrorCode::MultipleFaces, "two faces of like size")),
        "no_face" => Err(Problem::new(ErrorCode::NoFace, "no face in the image")),
        other => {
            let code = other.strip_prefix("problem:").and_then(ErrorCode::from_slug);
            Err(Problem::new(code.unwrap_or(ErrorCode::ImageUndecodable), "as asked"))
        }
    }
}

pub fn face() -> Face {
    Face {
        bounding_box: BoundingBox { x: 1.0, y: 2.0, width: 30.0, height: 40.0 },
        landmarks: Landmarks([[1.0, 2.0]; 5]),
        detection_score: 0.9,
        pose: Pose::default(),
        quality: Quality {
            score: 80.0,
            level: QualityLevel::High,
            components: QualityComponents::default(),
            reasons: vec![],
        },
    }
}

fn threshold(asked: Option<v1::ThresholdSpec>) -> v1::ResolvedThreshold {
    let target = asked.and_then(Into::into).unwrap_or(ThresholdSpec::fpir(0.003));
    ResolvedThreshold { target, score: 0.4, calibration_id: "fake".into(), gallery_size: 1, extrapolated: false }.into()
}

fn embedding() -> v1::Embedding {
    v1::Embedding { contract: contract().to_string(), values: vec![0.6, 0.8] }
}

pub async fn outcome(store: &Arc<dyn Store>, e: &Envelope) -> Result<reply::Outcome, Problem> {
    let request = e.request.clone().unwrap();
    Ok(match request {
        Request::Detect(r) => {
            let item = |i| match look(i) {
                Ok(f) => v1::detect_reply::Item { width: 64, height: 48, faces: vec![(&f).into()], problem: None },
                Err(p) if p.code == ErrorCode::NoFace => {
                    v1::detect_reply::Item { width: 64, height: 48, ..Default::default() }
                }
                Err(p) => v1::detect_reply::Item { problem: Some(p.into()), ..Default::default() },
            };
            reply::Outcome::Detect(v1::DetectReply { items: r.images.iter().map(item).collect() })
        }
        Request::Embed(r) => {
            let item = |i| match look(i) {
                Ok(f) => {
                    let one = v1::embed_reply::FaceEmbedding { face: Some((&f).into()), embedding: Some(embedding()) };
                    v1::embed_reply::Item { width: 64, height: 48, faces: vec![one], problem: None }
                }
                Err(p) => v1::embed_reply::Item { problem: Some(p.into()), ..Default::default() },
            };
            reply::Outcome::Embed(v1::EmbedReply { items: r.images.iter().map(item).collect() })
        }
        Request::Compare(r) => {
            let source = look(&r.source.unwrap())?;
            let item = |i| match look(i) {
                Ok(f) => v1::compare_reply::Item {
                    face: Some((&f).into()),
                    score: 0.7,
                    fmr_at_score: 1e-7,
                    decision: v1::Decision::Match.into(),
                    problem: None,
                },
                Err(p) => v1::compare_reply::Item { problem: Some(p.into()), ..Default::default() },
            };
            reply::Outcome::Compare(v1::CompareReply {
                source_face: Some((&source).into()),
                items: r.targets.iter().map(item).collect(),
                threshold: Some(threshold(r.threshold)),
            })
        }
        Request::Identify(r) => {
            let found = |index: usize, face: Option<v1::Face>| v1::identify_reply::Result {
                image_index: u32::try_from(index).unwrap(),
                face,
                decision: v1::Decision::NoMatch.into(),
                ..Default::default()
            };
            let image = |(n, i)| match look(i) {
                Ok(f) => found(n, Some((&f).into())),
                Err(p) => v1::identify_reply::Result {
                    image_index: u32::try_from(n).unwrap(),
                    problem: Some(p.into()),
                    ..Default::default()
                },
            };
            let mut results: Vec<_> = r.images.iter().enumerate().map(image).collect();
            results.extend((0..r.embeddings.len()).map(|n| found(n, None)));
            let threshold = Some(threshold(r.threshold));
            reply::Outcome::Identify(v1::IdentifyReply { results, threshold, revision: 1, exact: true })
        }
        Request::Bulk(_) => return Err(Problem::invalid("request", "the items lie in the store")),
        Request::Gate(_) => reply::Outcome::Gate(v1::GateReply { passed: true, ..Default::default() }),
        Request::Promotion(_) | Request::Prepare(_) | Request::Train(_) => {
            return Err(Problem::invalid("request", "not asked here"));
        }
        Request::CatchUp(_) => reply::Outcome::CatchUp(v1::CatchUpReply { revision: 1, found: 0 }),
        Request::Verify(r) => {
            let face = r.image.as_ref().map(look).transpose()?;
            reply::Outcome::Verify(v1::VerifyReply {
                face: face.as_ref().map(Into::into),
                decision: v1::Decision::from(Decision::Match).into(),
                score: 0.7,
                fmr_at_score: 1e-7,
                face_id: "f1".into(),
                threshold: Some(threshold(r.threshold)),
                revision: 1,
            })
        }
        Request::Enrol(r) => return enrol(store, e, r).await,
    })
}

async fn enrol(store: &Arc<dyn Store>, e: &Envelope, r: v1::EnrolRequest) -> Result<reply::Outcome, Problem> {
    let (tenant, collection) = (TenantId::new(&e.tenant).unwrap(), CollectionId::new(&r.collection_id).unwrap());
    let subject: Subject = r.subject.clone().unwrap().try_into().unwrap();
    let (mut faces, mut rejected) = (Vec::new(), Vec::new());
    for (index, image) in r.images.iter().enumerate() {
        match look(image) {
            Ok(face) => {
                let (id, created_at) = (FaceId::generate(), Timestamp::now());
                let face = EnrolledFace { id, subject_id: subject.id.clone(), face, contract: contract(), created_at };
                faces.push((face, Template::from_embedding(contract(), &[0.6, 0.8]).unwrap().into()));
            }
            Err(p) => rejected.push(v1::enrol_reply::RejectedImage {
                index: u32::try_from(index).unwrap(),
                problem: Some(p.into()),
                quality: None,
            }),
        }
    }
    if faces.is_empty() && !rejected.is_empty() {
        return Err(rejected.remove(0).problem.unwrap().into());
    }
    let consent: Option<Consent> = r.consent.map(|c| c.try_into().unwrap());
    let mut answer = v1::EnrolReply {
        subject: Some((&subject).into()),
        faces: faces.iter().map(|(f, _)| f.into()).collect(),
        rejected,
        revision: 1,
        consent_id: consent.as_ref().map(|c| c.id.to_string()),
    };
    let kept =
        Reply { job_id: e.job_id.clone(), outcome: Some(reply::Outcome::Enrol(answer.clone())), ..Reply::default() };
    let who = if r.create { EnrolSubject::New(subject) } else { EnrolSubject::Existing(subject.id, None) };
    let subjects = Subjects::new(store.clone(), Pepper::load(&**store).await.unwrap(), tenant, collection);
    let enrolment = Enrolment {
        crops: Vec::new(),
        subject: who,
        faces,
        consent,
        required_consent: None,
        collection: None,
        job_id: JobId::new(&e.job_id).unwrap(),
        reply: wire::encode_reply(&kept),
        accepted_at: None,
        now: Timestamp::now(),
    };
    match subjects.enrol(&enrolment).await.unwrap() {
        Outcome::Committed(revision) => answer.revision = revision.0,
        Outcome::AlreadyDone(bytes) => return Ok(wire::decode_reply(bytes).unwrap().outcome.unwrap()),
        other => return Err(Problem::new(ErrorCode::Conflict, format!("{other:?}"))),
    }
    Ok(reply::Outcome::Enrol(answer))
}
