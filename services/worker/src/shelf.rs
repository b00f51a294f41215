//! The shelf: models that this worker can answer with, the deployment's own and registered ones that collections use. One
//! is loaded when it is first needed, or when a promotion asks for it beforehand; whoever needs it meanwhile waits for the
//! same loading. A request is worked on with the model its collection's record named when it was read, to its end.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{CalibrationTable, ContractId, ErrorCode, ModelId, Problem, ServingModel, TenantId};
use models::Model;
use parking_lot::Mutex;
use registry::Registry;
use tokio::sync::{Notify, OnceCell};
use wire::v1::ModelInUse;

use crate::{load::Maker, metrics::Metrics, pipeline::Pipeline, stages};

/// Registered models held at most; beyond, the one that has not been asked for longest goes.
const MOST: usize = 6;

/// A model, loaded and warm, with everything that is specific to it.
pub struct Served {
    /// The stages, with this embedder.
    pub pipeline: Pipeline,
    /// Score table of its manifest for this deployment's detector, where it has one.
    pub calibration: Option<CalibrationTable>,
    /// What answers call it.
    pub version: Arc<str>,
    /// What this worker says of it.
    pub word: ModelInUse,
}

impl Served {
    /// Contract of its templates.
    pub fn contract(&self) -> ContractId {
        self.pipeline.contract()
    }
}

/// A registered model's place.
struct Place {
    cell: Arc<OnceCell<Arc<Served>>>,
    used: u64,
}

/// All models of this worker.
pub struct Shelf {
    own: Arc<Served>,
    /// Name of the detector.
    detector: String,
    maker: Maker,
    registry: Option<Registry>,
    metrics: Metrics,
    places: Mutex<HashMap<ContractId, Place>>,
    clock: AtomicU64,
    /// Told when a model was loaded or has gone.
    pub changed: Notify,
}

impl Shelf {
    /// With the deployment's own model alone.
    pub fn new(own: Served, detector: String, maker: Maker, registry: Option<Registry>, metrics: Metrics) -> Self {
        metrics.models.with_label_values(&[&*own.word.name, &own.word.contract]).set(1);
        Self {
            own: Arc::new(own),
            detector,
            maker,
            registry,
            metrics,
            places: Mutex::default(),
            clock: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// The deployment's own model.
    pub const fn own(&self) -> &Arc<Served> {
        &self.own
    }

    /// The registry, if this worker has one.
    pub const fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// Registered models that are loaded.
    pub fn loaded(&self) -> Vec<Arc<Served>> {
        self.places.lock().values().filter_map(|p| p.cell.get().cloned()).collect()
    }

    /// The model, loaded now if it has to be.
    ///
    /// # Errors
    /// `collection_model_mismatch` where a deployment's own model was replaced by another, `model_not_ready` where a
    /// registered one cannot be loaded.
    pub async fn get(self: &Arc<Self>, tenant: &TenantId, model: &ServingModel) -> Result<Arc<Served>, Problem> {
        if model.contract == self.own.contract() {
            return Ok(Arc::clone(&self.own));
        }
        let Some(id) = model.id.clone() else {
            let detail = "the collection holds templates of another embedding model than the one in use";
            return Err(Problem::new(ErrorCode::CollectionModelMismatch, detail));
        };
        let cell = self.place(model.contract);
        if let Some(served) = cell.get() {
            return Ok(Arc::clone(served));
        }
        // Goes on when the caller does not wait: the next one finds it done.
        let (shelf, tenant, contract) = (Arc::clone(self), tenant.clone(), model.contract);
        let loading =
            tokio::spawn(async move { cell.get_or_try_init(|| shelf.load(&tenant, &id, contract)).await.cloned() });
        loading.await.unwrap_or_else(|_| Err(not_ready("loading it broke off")))
    }

    fn place(&self, contract: ContractId) -> Arc<OnceCell<Arc<Served>>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut places = self.places.lock();
        if !places.contains_key(&contract) && places.len() >= MOST {
            let oldest = places.iter().min_by_key(|(_, p)| p.used).map(|(contract, _)| *contract);
            if let Some(gone) = oldest.and_then(|oldest| places.remove(&oldest))
                && let Some(served) = gone.cell.get()
            {
                let _ = self.metrics.models.remove_label_values(&[&*served.word.name, &served.word.contract]);
            }
        }
        let place = places.entry(contract).or_insert_with(|| Place { cell: Arc::default(), used: now });
        place.used = now;
        Arc::clone(&place.cell)
    }

    async fn load(&self, tenant: &TenantId, id: &ModelId, contract: ContractId) -> Result<Arc<Served>, Problem> {
        let began = std::time::Instant::now();
        let registry =
            self.registry.as_ref().ok_or_else(|| not_ready("this worker keeps no objects: set objects.url"))?;
        let record = registry.records(tenant).get(id).await.map_err(|e| stages::problem(e.code(), e))?;
        let record = record.ok_or_else(|| not_ready("it is not registered any more"))?.value;
        let (manifest, file) = registry.read(tenant, &record).await.map_err(|e| not_ready(&e.to_string()))?;
        if manifest.contract() != Some(contract) {
            return Err(not_ready("its file is another one than the collection's"));
        }
        let (target, named) = (self.maker.target(), manifest.clone());
        let read = move || Model::of_bytes(&named, std::path::PathBuf::from(&named.file), &file, target);
        let model = tokio::task::spawn_blocking(read).await.map_err(|_| not_ready("loading it broke off"))?;
        let model = model.map_err(|e| not_ready(&e.to_string()))?;
        let embedder = self.maker.embedder(model).await.map_err(|e| not_ready(&e.to_string()))?;
        let word = ModelInUse {
            role: "embedder".to_owned(),
            name: manifest.name.clone(),
            licence: manifest.licence.clone(),
            provider: self.own.word.provider.clone(),
            contract: contract.to_string(),
        };
        self.metrics.models.with_label_values(&[&*word.name, &word.contract]).set(1);
        tracing::info!(model = %id, name = word.name, took = ?began.elapsed(), "a registered model is loaded");
        self.changed.notify_one();
        Ok(Arc::new(Served {
            pipeline: Pipeline { embedder, ..self.own.pipeline.clone() },
            calibration: manifest.calibration(&self.detector).ok().cloned(),
            version: format!("{}+{}@{id}", self.detector, manifest.name).into(),
            word,
        }))
    }
}

fn not_ready(why: &str) -> Problem {
    Problem::new(ErrorCode::ModelNotReady, format!("the collection's model cannot be used: {why}"))
}
