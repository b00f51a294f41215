//! A sealed store with enrolled people and their crops, a lane, and trainers that can be started and killed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use crops::{Crop, Crops, In};
use domain::{
    BaseModel, CalibrationTable, Collection, CollectionId, Consent, ConsentDraft, ContractId, EnrolledFace, Face,
    FaceId, JobId, Lane, ModelId, OverrideValue, Quality, QualityLevel, RecipeName, RunId, RunState, Subject,
    SubjectId, Template, TenantId, Timestamp,
};
use inference::OnnxRuntime;
use models::{Cache, Catalogue, Manifest, Pip, Selection, Silent, fetch};
use objects::Objects;
use queue::{MemoryOptions, Queue};
use seal::Keyring;
use store::{
    Collections, Consents, CropOf, EnrolSubject, Enrolment, Outcome, Pepper, RedbStore, RunRecord, Runs, SealedStore,
    Store, Subjects,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trainer::{Candidate, Halt, Learner, Models, Registry, TrainerConfig, TrainerDeps, manifest::Manifest as Lineage};
use vision::Rgb8;

use crate::standin::{Held, StandIn, model};

/// What the base model begins with.
pub const BASE: [f32; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2];

/// Longest time for what takes a moment.
const LONG: Duration = Duration::from_secs(120);

/// A candidate: run, model, lineage.
pub type Registered = (RunId, Vec<u8>, serde_json::Value);

/// Candidates that were registered, and their score tables.
#[derive(Clone, Default)]
pub struct Taken(pub Arc<Mutex<Vec<Registered>>>, pub Arc<Mutex<Vec<(String, CalibrationTable)>>>);

#[async_trait]
impl Registry for Taken {
    async fn register(&self, candidate: Candidate<'_>) -> Result<String, Halt> {
        self.1.lock().unwrap().extend(candidate.score_tables);
        self.0.lock().unwrap().push((candidate.run.clone(), candidate.onnx.to_vec(), candidate.lineage));
        Ok(format!("candidate-of-{}", candidate.run))
    }

    async fn find(&self, _: &TenantId, _: &ModelId) -> Result<Option<(Manifest, Vec<u8>)>, Halt> {
        Ok(None)
    }
}

/// Everything but a trainer.
pub struct Kit {
    pub folder: TempDir,
    pub store: Arc<dyn Store>,
    pub queue: Queue,
    pub crops: Crops,
    pub objects: Objects,
    pub held: Arc<Held>,
    pub taken: Taken,
    pub tenant: TenantId,
    pub collection: CollectionId,
    pub pepper: Pepper,
    models: Models,
    runtime: OnnxRuntime,
}

/// A trainer on threads of its own.
pub struct Running {
    runtime: Option<tokio::runtime::Runtime>,
    stop: CancellationToken,
}

impl Running {
    /// Ends it as a power cut would: nothing more is written.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.stop.cancel();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Kit {
    pub async fn new() -> Self {
        Self::with(&BASE).await
    }

    pub async fn with(weights: &[f32; 12]) -> Self {
        Self::on(weights, None).await
    }

    /// With objects in a place of their own.
    pub async fn on(weights: &[f32; 12], objects: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redb: Arc<dyn Store> = Arc::new(RedbStore::open(&folder.path().join("store.redb")).unwrap());
        let keyring = Keyring::parse(&Keyring::fresh_key().unwrap()).unwrap();
        let store: Arc<dyn Store> = Arc::new(SealedStore::open(redb, Arc::new(keyring)).await.unwrap());
        let place = objects.map_or_else(|| folder.path().join("objects"), |o| o.join("objects"));
        let objects = Objects::disk(place).unwrap();
        let crops = Crops::open(store.clone(), objects.clone()).await.unwrap();
        let (tenant, collection): (TenantId, CollectionId) = ("acme".parse().unwrap(), "staff".parse().unwrap());
        let (models, runtime) = tokio::task::spawn_blocking({
            let (path, weights) = (folder.path().join("models"), *weights);
            move || tiny(&path, &weights)
        })
        .await
        .unwrap();
        let kit = Self {
            pepper: Pepper::load(&*store).await.unwrap(),
            queue: Queue::memory(MemoryOptions::default()),
            held: Arc::default(),
            taken: Taken::default(),
            folder,
            store,
            crops,
            objects,
            tenant,
            collection,
            models,
            runtime,
        };
        kit.collection("staff", &["doors", "payroll"]).await;
        kit
    }

    pub async fn collection(&self, id: &str, purposes: &[&str]) {
        let json = serde_json::json!({
            "id": id, "purposes": purposes, "retain_crops": "training",
            "contract": ContractId::from_bytes([3; 16]), "created_at": Timestamp::now(), "updated_at": Timestamp::now(),
        });
        let collection: Collection = serde_json::from_value(json).unwrap();
        Collections::new(self.store.clone()).create(&self.tenant, &collection).await.unwrap();
    }

    pub fn subjects(&self) -> Subjects {
        Subjects::new(self.store.clone(), self.pepper, self.tenant.clone(), self.collection.clone())
    }

    pub fn consents(&self) -> Consents {
        Consents::new(self.store.clone(), self.pepper, self.tenant.clone())
    }

    pub fn runs(&self) -> Runs {
        Runs::new(self.store.clone(), &self.tenant)
    }

    pub fn handle(&self, subject: &str) -> String {
        self.pepper.handle(&self.tenant, &self.collection, &subject.parse().unwrap()).to_string()
    }

    pub fn consent(&self, subject: &str, training: bool, purpose: &str) -> Consent {
        let json = serde_json::json!({"purposes": [purpose], "method": "form", "training_allowed": training});
        let draft: ConsentDraft = serde_json::from_value(json).unwrap();
        draft.record(self.collection.clone(), subject.parse().unwrap(), Timestamp::now())
    }

    /// People with three crops each who agree to training.
    pub async fn people(&self, names: &[&str]) {
        for name in names {
            self.enrol(name, &self.consent(name, true, "doors"), 3).await;
        }
    }

    /// Somebody with crops under a consent, whatever it allows.
    pub async fn enrol(&self, name: &str, consent: &Consent, crops: usize) {
        let now = Timestamp::now();
        let id: SubjectId = name.parse().unwrap();
        let subject = Subject {
            id: id.clone(),
            external_id: None,
            metadata: Default::default(),
            created_at: now,
            updated_at: now,
        };
        let contract = ContractId::from_bytes([3; 16]);
        let (mut faces, mut kept) = (Vec::new(), Vec::new());
        for n in 0..crops {
            let face = FaceId::generate();
            let of = CropOf { handle: self.subjects().handle(&id), face: &face };
            let png = vision::encode_png(&picture(name, n)).unwrap();
            let crop = Crop { png, alignment: "arcface_112".into(), side: 112, margin: 36, until: consent.expires_at };
            let at = In { tenant: &self.tenant, collection: &self.collection };
            kept.push((face.clone(), self.crops.keep(at, of, &crop).await.unwrap()));
            let quality =
                Quality { score: 80.0, level: QualityLevel::High, components: Default::default(), reasons: vec![] };
            let seen = Face {
                bounding_box: Default::default(),
                landmarks: Default::default(),
                detection_score: 0.9,
                pose: Default::default(),
                quality,
            };
            let enrolled = EnrolledFace { id: face, subject_id: id.clone(), face: seen, contract, created_at: now };
            faces.push((enrolled, Template::from_embedding(contract, &[0.6, 0.8]).unwrap().into()));
        }
        let enrolment = Enrolment {
            subject: EnrolSubject::New(subject),
            faces,
            crops: kept,
            consent: Some(consent.clone()),
            required_consent: None,
            collection: None,
            accepted_at: None,
            job_id: JobId::generate(),
            reply: Bytes::from_static(b"reply"),
            now,
        };
        let outcome = self.subjects().enrol(&enrolment).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }

    /// A run over the collection, on the lane.
    pub async fn start(&self, overrides: &[(&str, i64)]) -> RunId {
        self.start_for(None, overrides).await
    }

    pub async fn start_for(&self, purpose: Option<&str>, overrides: &[(&str, i64)]) -> RunId {
        let collections = vec![self.collection.clone()];
        let mut run = RunRecord::new(RunId::generate(), collections, RecipeName::FineTuneHead, BaseModel::champion());
        run.overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), OverrideValue::Whole(*v))).collect();
        run.purpose = purpose.map(|p| p.parse().unwrap());
        self.runs().create(&run).await.unwrap();
        self.send(&run.id).await;
        run.id
    }

    /// Puts an envelope of a run on the lane.
    pub async fn send(&self, run: &RunId) {
        let envelope = wire::train_envelope(&self.tenant, run, RecipeName::FineTuneHead, None);
        self.queue.submit(Lane::Train, &envelope).await.unwrap();
    }

    /// A trainer on threads of its own.
    pub fn trainer(&self) -> Running {
        self.trainer_with(Arc::new(StandIn(self.held.clone())))
    }

    /// One with another learner.
    pub fn trainer_with(&self, learner: Arc<dyn Learner>) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let deps = TrainerDeps {
            store: self.store.clone(),
            queue: self.queue.clone(),
            objects: self.objects.clone(),
            crops: self.crops.clone(),
            models: self.models.clone(),
            runtime: self.runtime.clone(),
            learner,
            registry: Arc::new(self.taken.clone()),
            metrics: prometheus::Registry::new(),
        };
        let config = TrainerConfig {
            niceness: 0,
            min_idle: Duration::from_millis(600),
            report_every: Duration::from_millis(10),
            // Less than all crops: some are opened at each use.
            crop_bytes: 1 << 17,
            ..TrainerConfig::default()
        };
        let stop = CancellationToken::new();
        let until = stop.clone();
        runtime.spawn(async move { trainer::run(config, deps, until).await.unwrap() });
        Running { runtime: Some(runtime), stop }
    }

    pub async fn record(&self, run: &RunId) -> RunRecord {
        self.runs().get(run).await.unwrap().unwrap().value
    }

    /// Waits for the end of a run.
    pub async fn end(&self, run: &RunId) -> RunRecord {
        self.when(|| async { Some(self.record(run).await).filter(|r| r.state.is_final()) }, "the run does not end")
            .await
    }

    /// Waits until the learner is at a step, where it is held.
    pub async fn reaches(&self, step: u64) {
        let reached = || async { (self.held.reached.load(Ordering::SeqCst) == step).then_some(()) };
        self.when(reached, "the step is not reached").await;
    }

    /// Holds the learner at a step, or lets it go on with 0.
    pub fn hold(&self, step: u64) {
        self.held.at.store(step, Ordering::SeqCst);
    }

    pub async fn when<T, F: Future<Output = Option<T>>>(&self, look: impl Fn() -> F, what: &str) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(began.elapsed() < LONG, "{what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing is kept of any run.
    pub async fn cleared(&self) {
        let nothing = || async { self.kept().is_empty().then_some(()) };
        self.when(nothing, "something of the training is left").await;
    }

    pub async fn lineage(&self, run: &RunId) -> Lineage {
        let text = self.runs().document(run, "lineage").await.unwrap().expect("a lineage");
        serde_json::from_slice(&text).unwrap()
    }

    /// Asserts how a run failed, and that nothing came of it.
    pub async fn failed(&self, run: &RunId, code: &str) -> String {
        let record = self.end(run).await;
        let failure = record.failure.expect("a failure");
        assert_eq!((record.state, failure.code.as_str()), (RunState::Failed, code), "{failure}");
        assert_eq!(record.model, None);
        assert!(self.taken.0.lock().unwrap().is_empty(), "something was registered");
        let page = self.runs().document(run, "report.html").await.unwrap().expect("a report");
        assert!(String::from_utf8_lossy(&page).contains(code));
        failure.detail
    }

    /// Every file there is.
    pub fn files(&self) -> Vec<PathBuf> {
        below(self.folder.path())
    }

    /// Files of runs.
    pub fn kept(&self) -> Vec<PathBuf> {
        below(&self.folder.path().join("objects/training"))
    }
}

/// Never the same twice.
pub fn picture(name: &str, n: usize) -> Rgb8 {
    let mut state = name.bytes().fold(n as u32 + 1, |s, b| s.wrapping_mul(16_777_619) ^ u32::from(b));
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    // People differ in brightness, and so in what the tiny model makes of them.
    let light = next() / 2;
    Rgb8::new(184, 184, (0..184 * 184 * 3).map(|_| light + next() / 4).collect()).unwrap()
}

fn tiny(folder: &Path, weights: &[f32; 12]) -> (Models, OnnxRuntime) {
    fs::create_dir_all(folder).unwrap();
    let onnx = onnx::encode(&model(weights));
    fs::write(folder.join("tiny.onnx"), &onnx).unwrap();
    let sha256 = trainer::manifest::sha256(&onnx);
    let text = format!(
        "name = 'tiny'\nrole = 'embedder'\nfile = 'tiny.onnx'\nsha256 = '{sha256}'\nlicence = 'CC0-1.0'\ncommercial = true\n\
         [input]\nchannel_order = 'rgb'\nmean = [0.0, 0.0, 0.0]\nscale = [1.0, 1.0, 1.0]\nsize = [112, 112]\n\
         [embedder]\ndim = 4\nalignment = 'arcface_112'\n\
         [[calibration]]\ndetector = 'yunet'\nid = 'strangers'\nsample = 'made up'\n\
         points = [{{ fmr = 0.1, score = 0.2 }}, {{ fmr = 0.001, score = 0.5 }}]\n"
    );
    fs::write(folder.join("tiny.toml"), text).unwrap();
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add(Manifest::from_path(&folder.join("tiny.toml")).unwrap());
    let library = catalogue.runtime().artefact().unwrap();
    let cache = Cache::open(testkit::cache_dir()).unwrap();
    fetch(&cache, std::slice::from_ref(&library), &Pip::default(), &Silent).unwrap();
    let runtime = OnnxRuntime::load(&cache.path_of(&library)).unwrap();
    let selection = Selection { embedder: "tiny".into(), ..Selection::default() };
    (Models { catalogue, cache, selection }, runtime)
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let path = |e: fs::DirEntry| if e.path().is_dir() { below(&e.path()) } else { vec![e.path()] };
    entries.flatten().flat_map(path).collect()
}
