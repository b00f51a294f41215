//! Where candidates go, and where models to begin with may come from. The trainer hands a candidate over and gets its name;
//! what becomes of it then is the registry's.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{CalibrationTable, ModelId, RunFailureCode, RunId, TenantId};
use models::{Checksum, Embedder, Kind, Manifest};
use registry::{NewModel, RegistryError};
use serde_json::{Value, json};
use store::{ModelOrigin, RunRecord};

use crate::{
    Halt,
    base::Base,
    evaluate::Evaluation,
    manifest::{self, Part},
};

/// A model that a run came to.
pub struct Candidate<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// The run; registering it twice gives the same name.
    pub run: &'a RunId,
    /// The model it began with.
    pub base: &'a Base,
    /// The `.onnx` file.
    pub onnx: &'a [u8],
    /// Its score tables, by the detector they are for.
    pub score_tables: Vec<(String, CalibrationTable)>,
    /// What it was made with: names nobody.
    pub lineage: Value,
}

/// What a manifest says of weights that began as random ones. Everybody learnt from has agreed to it.
const OWN: &str = "own weights; the consents of those they are learnt from decide";

/// Takes candidates, and has models to begin with.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Registers a candidate; gives its name.
    ///
    /// # Errors
    /// `registry_refused`; store or objects that are away.
    async fn register(&self, candidate: Candidate<'_>) -> Result<String, Halt>;

    /// A registered model: its manifest and its file.
    ///
    /// # Errors
    /// Store or objects that are away, a file that does not open.
    async fn find(&self, tenant: &TenantId, id: &ModelId) -> Result<Option<(Manifest, Vec<u8>)>, Halt>;
}

#[async_trait]
impl Registry for registry::Registry {
    async fn register(&self, candidate: Candidate<'_>) -> Result<String, Halt> {
        let Candidate { tenant, run, base, onnx, score_tables, lineage } = candidate;
        let id = ModelId::new(run.as_str()).map_err(Halt::internal)?;
        let parent = base.manifest.contract();
        let name = base.manifest.name.chars().take(40).collect::<String>();
        let licence = if base.manifest.is_untrained() { OWN.to_owned() } else { base.manifest.licence.clone() };
        // The other model's scores are not this one's.
        let kind = match &base.manifest.kind {
            Kind::Embedder(e) => Kind::Embedder(Embedder { calibration: score_tables, ..e.clone() }),
            kind @ Kind::Detector(_) => kind.clone(),
        };
        let manifest = Manifest {
            name: format!("{name}-{run}"),
            description: format!("{}, trained further", base.manifest.name),
            file: format!("{run}.onnx"),
            bytes: Some(onnx.len() as u64),
            sha256: Checksum::of(onnx),
            sources: Vec::new(),
            licence,
            kind,
            quantised: None,
            folder: None,
            ..base.manifest.clone()
        };
        let origin = ModelOrigin::TrainingRun { run: run.to_string() };
        let onnx = Bytes::copy_from_slice(onnx);
        let new = NewModel { id, onnx, manifest, parent, origin, lineage, by: "service".to_owned() };
        Ok(Self::register(self, tenant, new).await?.value.id.to_string())
    }

    async fn find(&self, tenant: &TenantId, id: &ModelId) -> Result<Option<(Manifest, Vec<u8>)>, Halt> {
        let Some(record) = self.records(tenant).get(id).await? else { return Ok(None) };
        Ok(Some(self.read(tenant, &record.value).await?))
    }
}

impl From<RegistryError> for Halt {
    fn from(e: RegistryError) -> Self {
        match e {
            RegistryError::Objects(e) => e.into(),
            RegistryError::Store(e) => e.into(),
            RegistryError::Interrupted => Self::Later(e.to_string()),
            RegistryError::Unfit(_) | RegistryError::Taken => {
                Self::failed(RunFailureCode::RegistryRefused, e.to_string())
            }
            RegistryError::Gone => Self::failed(RunFailureCode::BaseModelUnavailable, e.to_string()),
            RegistryError::Manifest(_) | RegistryError::Seal(_) => Self::internal(e),
        }
    }
}

/// What a candidate's record tells of how it was made: enough to show later whom it has learnt from, by handle.
pub fn lineage(run: &RunRecord, dataset: &manifest::Manifest, evaluation: &Evaluation) -> Value {
    let of = |part: Part| {
        let mut by_collection: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for subject in dataset.subjects.iter().filter(|s| s.part == part) {
            by_collection.entry(subject.collection.as_str()).or_default().push(&subject.handle);
        }
        json!(by_collection)
    };
    json!({
        "training_run": run.id,
        "recipe": run.recipe,
        "overrides": run.overrides,
        "base_model": run.base_model,
        "purpose": run.purpose,
        "dataset_sha256": dataset.sha256,
        "consents_at": dataset.consents_at,
        "parity": evaluation.parity,
        "score_tables": evaluation.about_tables(),
        "trained_on": of(Part::Train),
        "held_out": of(Part::HeldOut),
    })
}
