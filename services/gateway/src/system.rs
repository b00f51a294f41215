//! What the gateway asks about the process around it: roles, models, readiness. The binary answers.

use domain::ContractId;
use serde::Serialize;
use utoipa::ToSchema;

/// Implemented by the binary, which knows the roles of its process.
pub trait SystemInfo: Send + Sync + 'static {
    /// Roles, providers and models as they are now.
    fn snapshot(&self) -> SystemSnapshot;

    /// Whether models are loaded and warm; otherwise a sentence saying what is still missing.
    ///
    /// # Errors
    /// What is still missing.
    fn models_ready(&self) -> Result<(), String>;

    /// Contract of the active embedding model, once known.
    fn contract(&self) -> Option<ContractId>;
}

/// Roles, providers and models of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct SystemSnapshot {
    /// Roles running in this process, such as `gateway`, `worker`.
    pub roles: Vec<String>,
    /// Model set in use, as answers name it; empty while unknown.
    pub model_version: String,
    /// Models in use.
    pub models: Vec<ModelInfo>,
    /// Engine of the store, such as `redb`.
    pub store_engine: String,
    /// Engine of the queue, such as `memory`.
    pub queue_engine: String,
}

/// A model in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelInfo {
    /// `detector` or `embedder`.
    pub role: String,
    /// The manifest's id.
    pub id: String,
    /// SPDX licence of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Execution provider in use, such as `cpu`, `cuda`.
    pub provider: String,
    /// Embedding contract, of an embedder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractId>,
}
