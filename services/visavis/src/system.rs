//! What the gateway may know of the process around it: roles, models, whether they are warm.

use std::sync::OnceLock;

use domain::ContractId;
use gateway::{ModelInfo, SystemInfo, SystemSnapshot};
use models::{Manifest, ModelSet};
use runtime::{Condition, Readiness};

/// Name of the condition that the models are loaded and warm.
const MODELS: &str = "models";

/// The process as the gateway sees it.
pub struct Process {
    readiness: Readiness,
    models: Condition,
    provider: inference::Provider,
    active: OnceLock<Active>,
}

struct Active {
    models: Vec<ModelInfo>,
    version: String,
    contract: ContractId,
}

impl Process {
    /// A process whose models are not there yet.
    pub fn new(readiness: Readiness, provider: inference::Provider) -> Self {
        let models = readiness.condition(MODELS);
        Self { readiness, models, provider, active: OnceLock::new() }
    }

    /// Says what the models are waiting for.
    pub fn waiting(&self, what: &str) {
        self.models.unmet(what);
    }

    /// Tells which models are in use; before they are warm.
    pub fn loaded(&self, set: &ModelSet) {
        let info = |role: &str, m: &Manifest| ModelInfo {
            role: role.to_owned(),
            id: m.name.clone(),
            licence: Some(m.licence.clone()),
            provider: self.provider.as_str().to_owned(),
            contract: m.contract(),
        };
        let (detector, embedder) = (&set.detector.manifest, &set.embedder.manifest);
        let active = Active {
            models: vec![info("detector", detector), info("embedder", embedder)],
            version: format!("{}+{}", detector.name, embedder.name),
            contract: set.contract(),
        };
        // Only the first call counts; there is one per process.
        let _ = self.active.set(active);
    }

    /// The models are warm.
    pub fn warm(&self) {
        self.models.met();
    }

    /// The models' names, as answers carry them.
    pub fn model_version(&self) -> String {
        self.active.get().map(|a| a.version.clone()).unwrap_or_default()
    }
}

impl SystemInfo for Process {
    fn snapshot(&self) -> SystemSnapshot {
        SystemSnapshot {
            roles: vec!["gateway".into(), "worker".into()],
            model_version: self.model_version(),
            models: self.active.get().map(|a| a.models.clone()).unwrap_or_default(),
            store_engine: "redb".into(),
            queue_engine: "memory".into(),
        }
    }

    fn models_ready(&self) -> Result<(), String> {
        let state = self.readiness.snapshot().conditions.into_iter().find(|c| c.name == MODELS);
        match state.and_then(|c| c.reason) {
            None => Ok(()),
            Some(reason) => Err(reason),
        }
    }

    fn contract(&self) -> Option<ContractId> {
        self.active.get().map(|a| a.contract)
    }
}
