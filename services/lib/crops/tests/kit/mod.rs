//! A sealed store, a folder of objects and a collection that keeps crops, for the tests of crops.

mod hesitant;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use domain::{
    Collection, CollectionId, Consent, ConsentDraft, ContractId, EnrolledFace, Face, FaceId, JobId, Quality,
    QualityLevel, RetainCrops, Subject, SubjectId, Template, TenantId, Timestamp,
};
use seal::Keyring;
use store::{
    Collections, Consents, CropOf, CropRecord, CropRecords, EnrolSubject, Enrolment, Outcome, Pepper, RedbStore,
    SealedStore, Store, SubjectHandle, Subjects,
};
use tempfile::TempDir;
use visavis_crops::{Crop, Crops, CropsError, In};

use objects::Objects;

pub use hesitant::Hesitant;

/// What is kept: long enough that no part of it appears by chance.
pub const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n as good a picture as any for who only seals it, with pixels and all";

pub struct Kit {
    pub folder: TempDir,
    pub store: Arc<dyn Store>,
    pub crops: Crops,
    pub collections: Collections,
    pub subjects: Subjects,
    pub consents: Consents,
    pub tenant: TenantId,
    pub collection: CollectionId,
    pepper: Pepper,
}

pub fn id(subject: &str) -> SubjectId {
    subject.parse().unwrap()
}

impl Kit {
    pub async fn new() -> Self {
        let (folder, store) = sealed().await;
        let pepper = Pepper::load(&*store).await.unwrap();
        let objects = Objects::disk(folder.path().join("objects")).unwrap();
        let crops = Crops::open(store.clone(), objects).await.unwrap();
        let (tenant, collection): (TenantId, CollectionId) = ("acme".parse().unwrap(), "staff".parse().unwrap());
        let collections = Collections::new(store.clone());
        let json = serde_json::json!({
            "id": "staff", "purposes": ["access_control"], "retain_crops": "training",
            "contract": ContractId::from_bytes([3; 16]), "created_at": Timestamp::now(), "updated_at": Timestamp::now(),
        });
        collections.create(&tenant, &serde_json::from_value::<Collection>(json).unwrap()).await.unwrap();
        let subjects = Subjects::new(store.clone(), pepper, tenant.clone(), collection.clone());
        let consents = Consents::new(store.clone(), pepper, tenant.clone());
        Self { folder, store, crops, collections, subjects, consents, tenant, collection, pepper }
    }

    pub fn at(&self) -> In<'_> {
        In { tenant: &self.tenant, collection: &self.collection }
    }

    pub fn handle(&self, subject: &str) -> SubjectHandle {
        self.pepper.handle(&self.tenant, &self.collection, &id(subject))
    }

    pub fn records(&self) -> CropRecords {
        CropRecords::new(self.store.clone(), &self.tenant, &self.collection)
    }

    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
    }

    /// Another process with the same store and objects in `folder`.
    pub async fn open_at(&self, folder: &Path) -> Result<Crops, CropsError> {
        open_at(&self.store, folder).await
    }

    pub async fn policy(&self, retain_crops: RetainCrops) {
        let mut found = self.collections.get(&self.tenant, &self.collection).await.unwrap().unwrap().value;
        found.retain_crops = retain_crops;
        self.collections.update(&self.tenant, &found, None).await.unwrap();
    }

    pub fn consent(&self, subject: &str, training: bool, until: Option<Timestamp>) -> Consent {
        let json = serde_json::json!({"purposes": ["access_control"], "method": "form", "training_allowed": training});
        let mut draft: ConsentDraft = serde_json::from_value(json).unwrap();
        draft.expires_at = until;
        draft.record(self.collection.clone(), id(subject), Timestamp::now())
    }

    /// The object of a crop, and what would be its record.
    pub async fn keep(&self, subject: &str) -> (CropRecord, FaceId) {
        self.keep_until(subject, None).await
    }

    async fn keep_until(&self, subject: &str, until: Option<Timestamp>) -> (CropRecord, FaceId) {
        let face = FaceId::generate();
        let of = CropOf { handle: self.handle(subject), face: &face };
        let crop = Crop { png: PICTURE.to_vec(), alignment: "arcface_112".into(), side: 112, margin: 36, until };
        (self.crops.keep(self.at(), of, &crop).await.unwrap(), face)
    }

    pub async fn enrol(&self, subject: &str, consent: &Consent) -> FaceId {
        let (id, now) = (id(subject), Timestamp::now());
        let subject = Subject { id, external_id: None, metadata: Default::default(), created_at: now, updated_at: now };
        self.write(EnrolSubject::New(subject), Some(consent.clone()), consent.expires_at).await
    }

    /// A further face.
    pub async fn add(&self, subject: &str, consent: &Consent) -> FaceId {
        self.write(EnrolSubject::Existing(id(subject), None), None, consent.expires_at).await
    }

    async fn write(&self, who: EnrolSubject, consent: Option<Consent>, until: Option<Timestamp>) -> FaceId {
        let (record, face) = self.keep_until(who.id().as_str(), until).await;
        let contract = ContractId::from_bytes([3; 16]);
        let quality =
            Quality { score: 80.0, level: QualityLevel::High, components: Default::default(), reasons: vec![] };
        let seen = Face {
            bounding_box: Default::default(),
            landmarks: Default::default(),
            detection_score: 0.9,
            pose: Default::default(),
            quality,
        };
        let subject_id = who.id().clone();
        let enrolled =
            EnrolledFace { id: face.clone(), subject_id, face: seen, contract, created_at: Timestamp::now() };
        let enrolment = Enrolment {
            subject: who,
            faces: vec![(enrolled, Template::from_embedding(contract, &[0.6, 0.8]).unwrap().into())],
            crops: vec![(face.clone(), record)],
            consent,
            required_consent: None,
            collection: None,
            accepted_at: None,
            job_id: JobId::generate(),
            reply: Bytes::from_static(b"reply"),
            now: Timestamp::now(),
        };
        let outcome = self.subjects.enrol(&enrolment).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        face
    }

    /// The crops' files.
    pub fn files(&self) -> Vec<PathBuf> {
        below(&self.objects().join("crops"))
    }

    /// The one whose path holds `part`.
    pub fn file(&self, part: &str) -> PathBuf {
        self.files().into_iter().find(|f| f.to_string_lossy().contains(part)).unwrap()
    }

    /// Every file there is.
    pub fn all_files(&self) -> Vec<PathBuf> {
        below(self.folder.path())
    }
}

/// A store without objects, and its folder.
pub async fn sealed() -> (TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let redb: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.path().join("store.redb")).unwrap());
    let keyring = Keyring::parse(&Keyring::fresh_key().unwrap()).unwrap();
    let store: Arc<dyn Store> = Arc::new(SealedStore::open(redb, Arc::new(keyring)).await.unwrap());
    (folder, store)
}

/// A process with this store and objects in `folder`.
pub async fn open_at(store: &Arc<dyn Store>, folder: &Path) -> Result<Crops, CropsError> {
    Crops::open(store.clone(), Objects::disk(folder.to_owned()).unwrap()).await
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let path = |e: fs::DirEntry| if e.path().is_dir() { below(&e.path()) } else { vec![e.path()] };
    entries.flatten().flat_map(path).collect()
}
