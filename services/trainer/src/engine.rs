//! The engine that models learn with.

use domain::RunFailureCode;

use crate::{
    Halt,
    learner::{Learner, Learnt, Task, Watch},
};

/// Learns with the engine of this version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Engine;

impl Learner for Engine {
    fn learn(&self, _: &Task, _: &dyn Watch) -> Result<Learnt, Halt> {
        Err(Halt::failed(RunFailureCode::ModelNotTrainable, "this version has no engine to train with"))
    }

    fn forward(&self, _: &[u8], _: &[f32], _: usize) -> Result<Vec<f32>, Halt> {
        Err(Halt::failed(RunFailureCode::ModelNotTrainable, "this version has no engine to train with"))
    }
}
