//! A collection in a real store, and the ways it changes.

use std::{
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use domain::{
    BoundingBox, Collection, CollectionId, EnrolledFace, Face, FaceId, FaceTemplates, JobId, Landmarks, Pose, Quality,
    QualityComponents, QualityLevel, Subject, SubjectId, TenantId, Timestamp,
};
use link::{Link, LinkOptions};
use store::{
    Collections, EnrolSubject, Enrolment, EraseMode, Lookup, Outcome, Pepper, RedbOptions, RedbStore, RedisStore,
    RedisStoreOptions, Revision, Store, Subjects,
};
use testkit::RedisServer;
use visavis_gallery::{Galleries, GalleryError, Hit, Index, Query};

use super::{contract, direction, metadata, template};

pub const DIM: usize = 128;

/// One collection of one tenant.
pub struct Enrolled {
    pub store: Arc<dyn Store>,
    pub collections: Collections,
    pub subjects: Subjects,
    pub tenant: TenantId,
    pub collection: CollectionId,
}

/// A store in `dir` that keeps `feed_kept` commits per space.
pub fn open(dir: &Path, feed_kept: u64) -> Arc<dyn Store> {
    let options = RedbOptions { feed_kept, cache_bytes: 16 << 20, ..RedbOptions::default() };
    Arc::new(RedbStore::open_with(&dir.join("store.redb"), options).unwrap())
}

/// The server of this test binary; every test takes a prefix of its own.
pub static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

/// A prefix that nobody else uses.
pub fn prefix() -> String {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    format!("g{}", TAKEN.fetch_add(1, Ordering::Relaxed))
}

/// The store under `prefix` as one process opens it. Erasures leave the server's files alone: these tests are about
/// galleries.
pub async fn shared(url: &str, prefix: &str, feed_kept: u64) -> Arc<dyn Store> {
    let link = Link::new(LinkOptions { prefix: prefix.to_owned(), ..LinkOptions::new(url) }).unwrap();
    let options = RedisStoreOptions { feed_kept, erase: EraseMode::Logical, ..RedisStoreOptions::default() };
    Arc::new(RedisStore::open(link, options).await.unwrap())
}

impl Enrolled {
    /// The same collection as another process sees it.
    pub async fn beside(&self, store: &Arc<dyn Store>) -> Self {
        let pepper = Pepper::load(&**store).await.unwrap();
        Self {
            collections: Collections::new(Arc::clone(store)),
            subjects: Subjects::new(Arc::clone(store), pepper, self.tenant.clone(), self.collection.clone()),
            store: Arc::clone(store),
            collection: self.collection.clone(),
            tenant: self.tenant.clone(),
        }
    }

    pub async fn new(store: &Arc<dyn Store>, collection: &str) -> Self {
        let (tenant, id) = (TenantId::new("acme").unwrap(), CollectionId::new(collection).unwrap());
        let pepper = Pepper::load(&**store).await.unwrap();
        let enrolled = Self {
            collections: Collections::new(Arc::clone(store)),
            subjects: Subjects::new(Arc::clone(store), pepper, tenant.clone(), id.clone()),
            store: Arc::clone(store),
            collection: id,
            tenant,
        };
        enrolled.create().await;
        enrolled
    }

    pub async fn create(&self) {
        let collection = Collection {
            id: self.collection.clone(),
            name: None,
            purposes: vec!["access".parse().unwrap()],
            decision: Default::default(),
            quality_gate: Default::default(),
            retain_crops: Default::default(),
            retention: Default::default(),
            idle_from: None,
            training: Default::default(),
            promotion: domain::PromotionPolicy::default(),
            serving: None,
            consent: Default::default(),
            metadata: Default::default(),
            contract: contract(1),
            created_at: Timestamp::now(),
            updated_at: Timestamp::now(),
        };
        self.collections.create(&self.tenant, &collection).await.unwrap();
    }

    /// Enrols one more face, of the direction `seed`, for a subject new or known.
    pub async fn enrol(&self, subject: u16, face: u32, seed: u64) -> Revision {
        self.enrol_template(subject, face, template(1, seed, DIM)).await
    }

    pub async fn enrol_template(&self, subject: u16, face: u32, templates: impl Into<FaceTemplates>) -> Revision {
        let templates = templates.into();
        let id = super::subject_id(subject);
        let who = match self.subjects.get(&id).await.unwrap() {
            Lookup::Found(_) => EnrolSubject::Existing(id.clone(), None),
            _ => EnrolSubject::New(record(id.clone(), &[])),
        };
        let now = Timestamp::now();
        let face = EnrolledFace {
            id: super::face_id(face),
            subject_id: id,
            face: some_face(),
            contract: templates.iter().next().unwrap().contract(),
            created_at: now,
        };
        let enrolment = Enrolment {
            crops: Vec::new(),
            subject: who,
            faces: vec![(face, templates)],
            consent: None,
            required_consent: None,
            collection: None,
            job_id: JobId::generate(),
            reply: Default::default(),
            accepted_at: None,
            now,
        };
        match self.subjects.enrol(&enrolment).await.unwrap() {
            Outcome::Committed(revision) => revision,
            other => panic!("not enrolled: {other:?}"),
        }
    }

    pub async fn label(&self, subject: u16, labels: &[(&str, &str)]) {
        self.subjects.update(&record(super::subject_id(subject), labels), None).await.unwrap();
    }

    pub async fn delete_face(&self, subject: u16, face: u32) {
        self.subjects.delete_face(&super::subject_id(subject), &super::face_id(face), None).await.unwrap();
    }

    pub async fn delete_subject(&self, subject: u16) {
        self.subjects.delete_subject(&super::subject_id(subject), None, Timestamp::now()).await.unwrap();
    }

    pub async fn delete_collection(&self) {
        self.collections.delete(&self.tenant, &self.collection, None).await.unwrap();
    }

    /// Whoever looks like `seed` in the gallery as of now.
    pub async fn find(&self, galleries: &Galleries, seed: u64) -> Result<Vec<Hit>, GalleryError> {
        let gallery = galleries.current(&self.tenant, &self.collection, contract(1)).await?;
        let probe = direction(seed, DIM);
        Ok(gallery.index().search(&Query { min_score: Some(0.95), ..Query::new(&probe, 5) })?.hits)
    }

    /// The faces that look like `seed`.
    pub async fn faces(&self, galleries: &Galleries, seed: u64) -> Vec<FaceId> {
        self.find(galleries, seed).await.unwrap().into_iter().map(|h| h.face_id).collect()
    }
}

fn record(id: SubjectId, labels: &[(&str, &str)]) -> Subject {
    let now = Timestamp::now();
    let external_id = Some(format!("ref-{id}"));
    Subject { id, external_id, metadata: metadata(labels), created_at: now, updated_at: now }
}

fn some_face() -> Face {
    Face {
        bounding_box: BoundingBox::default(),
        landmarks: Landmarks::default(),
        detection_score: 0.9,
        pose: Pose::default(),
        quality: Quality {
            score: 80.0,
            level: QualityLevel::High,
            components: QualityComponents::default(),
            reasons: Vec::new(),
        },
    }
}
