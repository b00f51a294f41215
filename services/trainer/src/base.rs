//! The model a run begins with: the one that serves its collections, a registered one by its id, an architecture with random
//! weights or one of the catalogue by its name. Its file as it was shipped, since the rewrites for serving join what is to
//! be learnt.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use architectures::{Architecture, Options};
use domain::{BaseModel, ModelId, OverrideValue, RecipeName, RunFailureCode, TenantId};
use models::{Cache, Catalogue, Manifest, Model, ModelError, Selection, Target, Untrained};
use store::{Collections, RunRecord};
use training::Recipe;
use vision::{Alignment, ChannelOrder, Normalisation};

use crate::{Halt, desk::Desk, quiet::quietly};

/// A model to begin with.
pub struct Base {
    /// What is known about it.
    pub manifest: Manifest,
    /// The shipped file.
    pub onnx: Vec<u8>,
    /// How crops are aligned for it.
    pub alignment: Alignment,
    /// How pixels become its input.
    pub normalisation: Normalisation,
}

/// The models there are.
#[derive(Clone)]
pub struct Models {
    /// By name.
    pub catalogue: Catalogue,
    /// Their files.
    pub cache: Cache,
    /// Which are in use, and whether licences are accepted.
    pub selection: Selection,
}

impl Models {
    /// Reads a model from the cache. Blocks.
    ///
    /// # Errors
    /// `base_model_unavailable`; `model_not_trainable` for one of 8 bits.
    pub fn find(&self, name: &BaseModel) -> Result<Base, Halt> {
        let missing = |e: ModelError| Halt::failed(RunFailureCode::BaseModelUnavailable, e.to_string());
        let wanted = if name.is_champion() { self.selection.embedder.as_str() } else { name.as_str() };
        let mut manifest = self.catalogue.embedder(wanted).map_err(missing)?;
        if let Some(made) = &manifest.quantised {
            // Numbers of 8 bits do not learn; what they were made from does.
            let source = self.catalogue.manifests().find(|m| m.sha256 == made.source);
            manifest = source.ok_or_else(|| {
                let detail = format!("{wanted} has 8 bits, and the model it was made from is not in the catalogue");
                Halt::failed(RunFailureCode::ModelNotTrainable, detail)
            })?;
        }
        let model = Model::load(manifest, &self.cache, self.selection.accept_licence, Target::Cpu).map_err(missing)?;
        let onnx = std::fs::read(&model.path).map_err(|e| missing(ModelError::Missing { name: e.to_string() }))?;
        Base::new(model.manifest, onnx)
    }
}

impl Base {
    /// With what its manifest says.
    ///
    /// # Errors
    /// `model_not_trainable` for a manifest that cannot be followed.
    pub fn new(manifest: Manifest, onnx: Vec<u8>) -> Result<Self, Halt> {
        let unfit = |why: String| Halt::failed(RunFailureCode::ModelNotTrainable, why);
        let embedder = manifest.embedder().ok_or_else(|| unfit(format!("{} is no embedder", manifest.name)))?;
        let alignment = Alignment::from_str(&embedder.alignment).map_err(|e| unfit(e.to_string()))?;
        let order = match manifest.input.channel_order {
            models::ChannelOrder::Rgb => ChannelOrder::Rgb,
            models::ChannelOrder::Bgr => ChannelOrder::Bgr,
        };
        let normalisation = Normalisation { order, mean: manifest.input.mean, scale: manifest.input.scale };
        Ok(Self { alignment, normalisation, onnx, manifest })
    }
}

/// The model that a run begins with.
///
/// # Errors
/// `base_model_unavailable`, `model_not_trainable`; store and objects that are away.
pub async fn of_run(desk: &Desk, tenant: &TenantId, run: &RunRecord) -> Result<Base, Halt> {
    let registered = if run.base_model.is_champion() {
        serving(desk, tenant, run).await?
    } else {
        ModelId::new(run.base_model.as_str()).ok()
    };
    if let Some(id) = registered
        && let Some((manifest, onnx)) = desk.registry.find(tenant, &id).await?
    {
        return Base::new(manifest, onnx);
    }
    if let Ok(architecture) = Architecture::from_str(run.base_model.as_str()) {
        let seed = seed(run)?;
        return quietly(0, move || untrained(architecture, seed)).await;
    }
    let (models, name) = (desk.models.clone(), run.base_model.clone());
    quietly(0, move || models.find(&name)).await
}

/// What the random weights of a run begin with: the seed of its recipe, so that every trainer that takes the run up makes
/// the same ones.
fn seed(run: &RunRecord) -> Result<u64, Halt> {
    let invalid = |why: String| Halt::failed(RunFailureCode::InvalidRecipe, why);
    if run.recipe != RecipeName::FromScratch {
        let why = format!("{} are random weights, which {} has nothing to keep of: ", run.base_model, run.recipe);
        return Err(invalid(why + "take the recipe from-scratch, or a trained model to begin with"));
    }
    match run.overrides.get("seed") {
        Some(OverrideValue::Whole(n)) => u64::try_from(*n).map_err(|_| invalid("seed is a number from 0 on".into())),
        _ => Recipe::named(run.recipe.as_str(), &[]).map(|r| r.seed).map_err(|e| invalid(e.to_string())),
    }
}

/// An architecture with random weights.
fn untrained(architecture: Architecture, seed: u64) -> Result<Base, Halt> {
    let model = architectures::build(architecture, &Options { seed, ..Options::default() }).map_err(Halt::internal)?;
    let onnx = onnx::encode(&model);
    let (name, source, dim) = (architecture.name(), architecture.source(), architecture.default_dim());
    let side = u32::try_from(architectures::SIDE).map_err(Halt::internal)?;
    Base::new(Manifest::untrained(Untrained { name, source, dim, side }, &onnx), onnx)
}

/// The registered model that serves all collections of a run; none where that is the deployment's own.
async fn serving(desk: &Desk, tenant: &TenantId, run: &RunRecord) -> Result<Option<ModelId>, Halt> {
    let collections = Collections::new(Arc::clone(&desk.store));
    let mut active = BTreeSet::new();
    for id in &run.collections {
        if let Some(found) = collections.get(tenant, id).await? {
            active.insert(found.value.serving().active.id);
        }
    }
    if active.len() > 1 {
        let detail = "the collections are served by different models: name the one to begin with as base_model";
        return Err(Halt::failed(RunFailureCode::BaseModelUnavailable, detail));
    }
    Ok(active.into_iter().next().flatten())
}
