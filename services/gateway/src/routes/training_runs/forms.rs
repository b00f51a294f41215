//! How a training run is asked for and told.

use domain::{
    BaseModel, CollectionId, Overrides, Purpose, RecipeName, RunFailure, RunId, RunLineage, RunProgress, RunState,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use store::{RunOrigin, RunRecord};
use utoipa::ToSchema;

/// A run to be started.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun {
    /// Whose crops to learn from: 1 to 16 collections that retain crops.
    pub collections: Vec<CollectionId>,
    /// How to learn; `fine-tune-head` unless said.
    #[serde(default)]
    pub recipe: RecipeName,
    /// Values of the recipe to replace, by dotted key.
    #[serde(default)]
    pub overrides: Overrides,
    /// Model to begin with: `champion` for the one in use, which is what is taken unless said, a registered model's id, a
    /// model's name, or an architecture's for random weights (`mobilefacenet`, `iresnet18`, `iresnet50`, `iresnet100`,
    /// `vit-t`, `vit-s`, `vit-b`; with the recipe `from-scratch`).
    pub base_model: Option<BaseModel>,
    /// What the model will be used for, a purpose of all these collections: only subjects whose consents cover it are
    /// learnt from. Any purpose of their collection unless said.
    pub purpose: Option<Purpose>,
}

/// A training run.
#[derive(Serialize, ToSchema)]
#[schema(as = TrainingRun)]
pub(super) struct RunAnswer {
    /// Its id.
    id: RunId,
    /// Where it stands.
    state: RunState,
    /// `request`, or `policy` where the collection started it.
    #[schema(value_type = String, example = "request")]
    origin: RunOrigin,
    /// Whose crops it learns from.
    collections: Vec<CollectionId>,
    /// What the model will be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<Purpose>,
    /// How it learns.
    recipe: RecipeName,
    /// Values of the recipe that are replaced.
    overrides: Overrides,
    /// What it begins with.
    base_model: BaseModel,
    /// When it was asked for.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
    /// When a trainer first took it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    /// How far the training has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<RunProgress>,
    /// How often another trainer went on with it.
    resumes: u32,
    /// How often it began anew without somebody who must not be in it any more.
    restarts: u32,
    /// What it learns from, in numbers; by handle at `/lineage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lineage: Option<RunLineage>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<RunFailure>,
    /// The candidate that came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_id: Option<String>,
}

impl From<RunRecord> for RunAnswer {
    fn from(r: RunRecord) -> Self {
        Self {
            id: r.id,
            state: r.state,
            origin: r.origin,
            collections: r.collections,
            purpose: r.purpose,
            recipe: r.recipe,
            overrides: r.overrides,
            base_model: r.base_model,
            created_at: r.created_at,
            updated_at: r.updated_at,
            started_at: r.started_at,
            ended_at: r.ended_at,
            progress: r.progress,
            resumes: r.resumes,
            restarts: r.restarts,
            lineage: r.lineage,
            failure: r.failure,
            model_id: r.model,
        }
    }
}
