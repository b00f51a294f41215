//! Whether the process should get requests: named conditions that the roles flip and `/readyz` reads.
//! Ready means every condition is met and the process is not draining.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

/// The process's conditions. Clones share them.
#[derive(Clone, Debug)]
pub struct Readiness {
    board: Arc<watch::Sender<Board>>,
}

#[derive(Clone, Debug, Default)]
struct Board {
    draining: bool,
    /// `None`: met. `Some`: why not.
    conditions: BTreeMap<&'static str, Option<String>>,
}

/// A role's handle on one condition. Clones share it.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    board: Arc<watch::Sender<Board>>,
}

/// The conditions at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadinessSnapshot {
    /// All met and not draining.
    pub ready: bool,
    /// The process is shutting down.
    pub draining: bool,
    /// By name.
    pub conditions: Vec<ConditionState>,
}

/// One condition at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConditionState {
    /// Name: "models", "store", "queue".
    pub name: &'static str,
    /// Whether it is met.
    pub met: bool,
    /// Why it is not met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Board {
    fn ready(&self) -> bool {
        !self.draining && self.conditions.values().all(Option::is_none)
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// No conditions: ready at once.
    #[must_use]
    pub fn new() -> Self {
        Self { board: Arc::new(watch::Sender::new(Board::default())) }
    }

    /// Adds a condition, not met until its holder says so. The same name gives the same condition.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> Condition {
        self.board.send_modify(|b| {
            b.conditions.entry(name).or_insert_with(|| Some("starting".to_owned()));
        });
        Condition { name, board: Arc::clone(&self.board) }
    }

    /// From now on never ready again: the process is shutting down.
    pub fn drain(&self) {
        self.board.send_modify(|b| b.draining = true);
    }

    /// Whether the process should get requests now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.board.borrow().ready()
    }

    /// All conditions as they are now.
    #[must_use]
    pub fn snapshot(&self) -> ReadinessSnapshot {
        let board = self.board.borrow();
        let state = |(&name, why): (&&'static str, &Option<String>)| ConditionState {
            name,
            met: why.is_none(),
            reason: why.clone(),
        };
        ReadinessSnapshot {
            ready: board.ready(),
            draining: board.draining,
            conditions: board.conditions.iter().map(state).collect(),
        }
    }

    /// Waits until the process is ready.
    pub async fn ready(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.board.subscribe().wait_for(Board::ready).await;
    }
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        self.set(None);
    }

    /// The condition is not met, and why.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, why: Option<String>) {
        self.board.send_if_modified(|b| {
            let slot = b.conditions.entry(self.name).or_default();
            let changed = *slot != why;
            *slot = why;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_needs_every_condition_and_draining_ends_it() {
        let readiness = Readiness::new();
        let (models, store) = (readiness.condition("models"), readiness.condition("store"));
        assert!(!readiness.is_ready());
        store.met();
        models.unmet("warming");
        let snapshot = readiness.snapshot();
        assert_eq!(snapshot.conditions.len(), 2);
        assert_eq!(snapshot.conditions[0].reason.as_deref(), Some("warming"));
        assert!(snapshot.conditions[1].met && !snapshot.ready);

        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        models.met();
        waiter.await.unwrap();
        assert!(readiness.is_ready());
        assert!(readiness.condition("models").name == "models" && readiness.is_ready(), "asking again resets nothing");

        readiness.drain();
        assert!(!readiness.is_ready() && readiness.snapshot().draining);
    }
}
