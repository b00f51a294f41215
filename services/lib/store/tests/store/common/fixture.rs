//! One collection of one tenant, on either engine, and the records that tests put into it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    Collection, Consent, ContractId, EnrolledFace, ErrorCode, Face, FaceId, JobId, Quality, QualityLevel, Subject,
    SubjectId, Template, TenantId, Timestamp,
};
use tempfile::TempDir;
use visavis_store::{
    Collections, Consents, Count, EnrolSubject, Enrolment, Outcome, Pepper, RedbStore, RepoError, Store, Subjects,
    Templates,
};

pub const NOW: Timestamp = Timestamp::from_millis(4_000_000_000_000);
pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Fixture {
    _dir: Option<TempDir>,
    pub store: Arc<dyn Store>,
    pub pepper: Pepper,
    pub tenant: TenantId,
    pub collections: Collections,
    pub subjects: Subjects,
    pub consents: Consents,
    pub templates: Templates,
}

/// On an embedded store.
pub async fn on_redb() -> Fixture {
    let dir = TempDir::new().unwrap();
    let store = RedbStore::open(&dir.path().join("store")).unwrap();
    on(Some(dir), Arc::new(store)).await
}

/// On a shared store.
pub async fn on_redis() -> Fixture {
    on(None, Arc::new(super::fresh().await)).await
}

/// On this one.
pub async fn on(dir: Option<TempDir>, store: Arc<dyn Store>) -> Fixture {
    let fixture = beside(dir, store).await;
    fixture.collections.create(&fixture.tenant, &collection("staff")).await.unwrap();
    fixture
}

/// On this one, where another has made the collection.
pub async fn beside(dir: Option<TempDir>, store: Arc<dyn Store>) -> Fixture {
    let pepper = Pepper::load(&*store).await.unwrap();
    let tenant: TenantId = "acme".parse().unwrap();
    let collections = Collections::new(store.clone());
    let subjects = Subjects::new(store.clone(), pepper, tenant.clone(), "staff".parse().unwrap());
    let consents = Consents::new(store.clone(), pepper, tenant.clone());
    let templates = Templates::new(store.clone(), &tenant, &"staff".parse().unwrap());
    Fixture { _dir: dir, store, pepper, tenant, collections, subjects, consents, templates }
}

pub fn contract() -> ContractId {
    ContractId::from_bytes([3; 16])
}

pub fn collection(id: &str) -> Collection {
    let json = serde_json::json!({"id": id, "purposes": ["access_control"], "contract": contract(), "created_at": NOW, "updated_at": NOW});
    serde_json::from_value(json).unwrap()
}

pub fn subject(id: &str) -> Subject {
    let id = id.parse().unwrap();
    Subject { id, external_id: None, metadata: Default::default(), created_at: NOW, updated_at: NOW }
}

pub fn face(subject: &str) -> (EnrolledFace, Template) {
    let quality = Quality { score: 80.0, level: QualityLevel::High, components: Default::default(), reasons: vec![] };
    let face = Face {
        bounding_box: Default::default(),
        landmarks: Default::default(),
        detection_score: 0.9,
        pose: Default::default(),
        quality,
    };
    let id = FaceId::generate();
    let face = EnrolledFace { id, subject_id: subject.parse().unwrap(), face, contract: contract(), created_at: NOW };
    (face, Template::from_embedding(contract(), &[0.6, 0.8]).unwrap())
}

pub fn consent(subject: &str, purpose: &str) -> Consent {
    let draft = serde_json::json!({"purposes": [purpose], "method": "signed_form"});
    let draft: domain::ConsentDraft = serde_json::from_value(draft).unwrap();
    draft.record("staff".parse().unwrap(), subject.parse().unwrap(), NOW)
}

pub fn enrolment(id: &str, faces: usize) -> Enrolment {
    Enrolment {
        crops: Vec::new(),
        subject: EnrolSubject::New(subject(id)),
        faces: (0..faces).map(|_| face(id)).map(|(face, template)| (face, template.into())).collect(),
        consent: Some(consent(id, "access_control")),
        required_consent: None,
        collection: None,
        job_id: JobId::generate(),
        reply: Bytes::from(format!("enrolled {id}")),
        accepted_at: None,
        now: NOW,
    }
}

pub fn id(s: &str) -> SubjectId {
    s.parse().unwrap()
}

pub fn code<T: std::fmt::Debug>(result: Result<T, RepoError>) -> ErrorCode {
    result.unwrap_err().code()
}

impl Fixture {
    pub async fn enrol(&self, e: &Enrolment) -> Outcome {
        self.subjects.enrol(e).await.unwrap()
    }

    pub async fn count(&self) -> (usize, usize) {
        let Count { subjects, faces } = self.subjects.count().await.unwrap();
        (subjects, faces)
    }

    pub async fn all_keys(&self) -> Vec<String> {
        self.store.keys(self.templates.space(), "", None, 10_000).await.unwrap().keys
    }
}

/// Makes a test of each case on each engine.
#[macro_export]
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod redb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case($crate::common::fixture::on_redb().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case($crate::common::fixture::on_redis().await).await;
            })*
        }
    };
}
