//! What a trainer needs of whoever makes models learn. Behind a trait, so that the life of a run can be tested without
//! waiting for real learning.

use std::sync::Arc;

use bytes::Bytes;
use domain::{Overrides, RecipeName, RunProgress};

use crate::{Halt, base::Base, dataset::Parts};

/// What is to be learnt.
pub struct Task {
    /// How.
    pub recipe: RecipeName,
    /// Values of the recipe that are replaced.
    pub overrides: Overrides,
    /// What it begins with.
    pub base: Arc<Base>,
    /// What from.
    pub data: Arc<Parts>,
    /// Threads to use.
    pub threads: usize,
}

/// What came of it.
pub struct Learnt {
    /// The model, an `.onnx` file with the nodes of the base model.
    pub onnx: Vec<u8>,
    /// What is told of how it learnt, by name: kept beside the run's record.
    pub papers: Vec<(String, Bytes)>,
}

/// Looks on while it learns.
pub trait Watch: Send + Sync {
    /// Told after every step.
    ///
    /// # Errors
    /// Why it must stop: the learner keeps a checkpoint if it can, and gives the reason back.
    fn step(&self, progress: RunProgress) -> Result<(), Halt>;

    /// Whether to go on, between steps.
    ///
    /// # Errors
    /// As [`Self::step`].
    fn check(&self) -> Result<(), Halt>;

    /// Where it stood when that was last kept.
    ///
    /// # Errors
    /// Objects that are away, a checkpoint that does not open.
    fn checkpoint(&self) -> Result<Option<Vec<u8>>, Halt>;

    /// Keeps where it stands.
    ///
    /// # Errors
    /// [`Halt::NotOurs`] when the run is another's; a full disk.
    fn keep(&self, checkpoint: &[u8]) -> Result<(), Halt>;
}

/// Makes models learn. Goes on from the checkpoint that `watch` has, and comes to the same bytes as without a break.
pub trait Learner: Send + Sync + 'static {
    /// Learns; blocks for as long as that takes.
    ///
    /// # Errors
    /// The run's failure, or what `watch` gave.
    fn learn(&self, task: &Task, watch: &dyn Watch) -> Result<Learnt, Halt>;

    /// What the engine that trained a model computes for a batch of `n` inputs: to be compared with what serves it.
    ///
    /// # Errors
    /// The run's failure.
    fn forward(&self, onnx: &[u8], batch: &[f32], n: usize) -> Result<Vec<f32>, Halt>;
}
