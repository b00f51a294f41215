//! What the gateway may know of the process around it: its roles, what it waits for, how it keeps its data.

use gateway::SystemInfo;
use runtime::{Condition, Readiness};

use crate::roles::Roles;

/// Name of the condition that the models are loaded and warm.
const MODELS: &str = "models";

/// The process as the gateway sees it.
pub struct Process {
    roles: Roles,
    readiness: Readiness,
    models: Option<Condition>,
    durability: String,
    queue_engine: &'static str,
}

impl Process {
    /// A process whose models are not there yet, if it is to have any.
    pub fn new(roles: Roles, readiness: Readiness, durability: String, queue_engine: &'static str) -> Self {
        let models = roles.worker().then(|| readiness.condition(MODELS));
        Self { roles, readiness, models, durability, queue_engine }
    }

    /// Says what the models are waiting for.
    pub fn waiting(&self, what: &str) {
        if let Some(models) = &self.models {
            models.unmet(what);
        }
    }

    /// The models are warm.
    pub fn warm(&self) {
        if let Some(models) = &self.models {
            models.met();
        }
    }
}

impl SystemInfo for Process {
    fn roles(&self) -> Vec<String> {
        self.roles.names().iter().map(|&r| r.to_owned()).collect()
    }

    fn waiting_for(&self) -> Option<String> {
        let state = self.readiness.snapshot().conditions.into_iter().find(|c| c.name == MODELS);
        state.and_then(|c| c.reason)
    }

    fn durability(&self) -> String {
        self.durability.clone()
    }

    fn queue_engine(&self) -> String {
        self.queue_engine.to_owned()
    }
}
