//! The record of a training run: what was asked for, where it stands, and what only its trainer reads.

use std::fmt;

use domain::{
    BaseModel, CollectionId, KeyId, Overrides, Purpose, RecipeName, RunFailure, RunId, RunLineage, RunProgress,
    RunState, Timestamp,
};
use serde::{Deserialize, Serialize};

/// Who wanted a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOrigin {
    /// A caller.
    Request,
    /// A collection's policy.
    Policy,
}

/// An object and the key that it is sealed with, hex: who can read this record can read the object.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedObject {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// Secrets do not appear in logs.
impl fmt::Debug for SealedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedObject({})", self.name)
    }
}

/// A training run. Names no subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// Who wanted it.
    pub origin: RunOrigin,
    /// The caller's key, where it was a caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// Whose crops it may learn from.
    pub collections: Vec<CollectionId>,
    /// What the model will be used for: only consents that cover it count. Every purpose of the collection where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// How it learns.
    pub recipe: RecipeName,
    /// Values of the recipe that are replaced.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// What it begins with.
    pub base_model: BaseModel,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When a trainer first took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How far the training has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RunProgress>,
    /// How often another trainer went on with it.
    #[serde(default)]
    pub resumes: u32,
    /// How often it began anew without somebody who must not be in it any more.
    #[serde(default)]
    pub restarts: u32,
    /// What it learns from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<RunLineage>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RunFailure>,
    /// The candidate that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whether it is known to have been put on the lane.
    #[serde(default)]
    pub submitted: bool,
    /// Which trainer has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// How often it was taken up since it last got any further.
    #[serde(default)]
    pub fruitless: u32,
    /// Where the training stood when that was last kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<SealedObject>,
    /// The trained model, until it is a candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<SealedObject>,
}

impl RunRecord {
    /// A run that waits.
    #[must_use]
    pub fn new(id: RunId, collections: Vec<CollectionId>, recipe: RecipeName, base_model: BaseModel) -> Self {
        let now = Timestamp::now();
        Self {
            id,
            origin: RunOrigin::Request,
            key: None,
            collections,
            purpose: None,
            recipe,
            overrides: Overrides::new(),
            base_model,
            state: RunState::Queued,
            created_at: now,
            updated_at: now,
            started_at: None,
            ended_at: None,
            progress: None,
            resumes: 0,
            restarts: 0,
            lineage: None,
            failure: None,
            model: None,
            submitted: false,
            carrier: None,
            fruitless: 0,
            checkpoint: None,
            trained: None,
        }
    }

    /// Ends it. What only a trainer needs is forgotten.
    pub fn end(&mut self, state: RunState, now: Timestamp) {
        self.state = state;
        self.ended_at = Some(now);
        (self.checkpoint, self.trained, self.carrier) = (None, None, None);
    }
}
