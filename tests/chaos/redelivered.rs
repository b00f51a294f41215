//! Delivery is at least once: a worker may die between its commit and its acknowledgement. The effect is exactly once.

use std::{sync::Arc, time::Duration};

use domain::{
    Collection, ConsentDraft, ConsentPolicy, DecisionPolicy, Lane, Metadata, QualityGate, RetainCrops, Retention,
    Subject, SubjectId, TenantId, Timestamp,
};
use gallery::{Galleries, GalleryOptions};
use queue::{MemoryOptions, Queue, Replies};
use store::{Collections, Pepper, RedbStore, Store, Subjects};
use testkit::Person;
use tokio_util::sync::CancellationToken;
use wire::v1::{EnrolReply, EnrolRequest, Envelope, Image, envelope::Request, reply::Outcome};
use worker::{Worker, WorkerConfig, WorkerDeps};

fn collection(contract: domain::ContractId) -> Collection {
    Collection {
        id: "staff".parse().expect("an id"),
        name: None,
        purposes: vec!["access_control".parse().expect("a purpose")],
        decision: DecisionPolicy::default(),
        quality_gate: QualityGate::default(),
        retain_crops: RetainCrops::default(),
        retention: Retention::default(),
        idle_from: None,
        training: Default::default(),
        promotion: Default::default(),
        serving: None,
        consent: ConsentPolicy::default(),
        metadata: Metadata::default(),
        contract,
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
    }
}

fn enrolment(staff: &Collection, id: &SubjectId) -> EnrolRequest {
    let now = Timestamp::now();
    let draft: ConsentDraft =
        serde_json::from_value(serde_json::json!({"purposes": ["access_control"], "method": "signed_form"}))
            .expect("a draft");
    let subject =
        Subject { id: id.clone(), external_id: None, metadata: Metadata::default(), created_at: now, updated_at: now };
    EnrolRequest {
        collection_id: staff.id.to_string(),
        subject: Some((&subject).into()),
        create: true,
        consent: Some((&draft.record(staff.id.clone(), id.clone(), now)).into()),
        images: vec![Image { data: Person::Obama.photo() }],
        ..EnrolRequest::default()
    }
}

async fn enrolled(replies: &mut Replies) -> EnrolReply {
    match replies.next().await.expect("a reply").outcome {
        Some(Outcome::Enrol(reply)) => reply,
        other => unreachable!("no enrolment: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_delivered_twice_is_done_once_and_answered_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let store: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.path().join("store.redb")).expect("a store"));
    let queue = Queue::memory(MemoryOptions::default());
    let (models, runtime) = crate::models::load("sface").await;
    let (tenant, id): (TenantId, SubjectId) = ("default".parse().expect("an id"), "p1".parse().expect("an id"));
    let staff = collection(models.contract());
    Collections::new(store.clone()).create(&tenant, &staff).await.expect("a collection");
    let deps = WorkerDeps {
        store: store.clone(),
        queue: queue.clone(),
        models,
        runtime,
        galleries: Arc::new(Galleries::new(store.clone(), GalleryOptions::default())),
        crops: None,
        model_registry: None,
        registry: prometheus::Registry::new(),
    };
    let worker = Worker::start(WorkerConfig::default(), deps).await.expect("a worker");
    let stop = CancellationToken::new();
    let running = tokio::spawn(worker.run(tokio::sync::oneshot::channel().0, stop.clone()));

    let mut replies = queue.open_replies().await.expect("a reply stream");
    let envelope = Envelope {
        job_id: "job-1".into(),
        tenant: tenant.to_string(),
        created_ms: Timestamp::now().as_millis(),
        deadline_ms: Timestamp::now().plus(Duration::from_secs(60)).as_millis(),
        reply_to: replies.address().into(),
        request: Some(Request::Enrol(enrolment(&staff, &id))),
        ..Envelope::default()
    };
    // Twice at once, and once more when it is long done.
    queue.submit(Lane::Interactive, &envelope).await.expect("submitted");
    queue.submit(Lane::Bulk, &envelope).await.expect("submitted");
    let (first, second) = (enrolled(&mut replies).await, enrolled(&mut replies).await);
    queue.submit(Lane::Interactive, &envelope).await.expect("submitted");
    let third = enrolled(&mut replies).await;

    let faces = |reply: &EnrolReply| reply.faces.iter().map(|f| f.id.clone()).collect::<Vec<_>>();
    assert_eq!(faces(&first).len(), 1);
    assert_eq!((faces(&second), faces(&third)), (faces(&first), faces(&first)));
    let pepper = Pepper::load(&*store).await.expect("the store's secret");
    let subjects = Subjects::new(store.clone(), pepper, tenant, staff.id);
    let kept: Vec<String> = subjects.faces(&id).await.expect("faces").iter().map(|f| f.value.id.to_string()).collect();
    assert_eq!(kept, faces(&first));
    assert_eq!(subjects.consents(&id).await.expect("consents").len(), 1);

    stop.cancel();
    assert_eq!(running.await.expect("it ends").expect("well"), 0, "jobs left behind");
}
