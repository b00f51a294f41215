//! The pipeline's stages, one file each: decode → detect → align → embed → search → respond.

pub mod align;
pub mod decode;
pub mod detect;
pub mod embed;
pub mod respond;
pub mod search;

use std::{sync::Arc, time::Instant};

use domain::{ErrorCode, Problem};
use inference::{Outputs, SessionHandle, Tensor};

use crate::batcher::{Observer, Policy};

/// How a stage batches, and who is told of it.
#[derive(Clone)]
pub struct Batching {
    /// When to run how many.
    pub(crate) policy: Policy,
    /// Told of every batch.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// One item of a batch: three planes of floats.
pub(crate) type Planes = Arc<Vec<f32>>;

/// Brings batches of equal items to a session.
pub(crate) struct ModelRun {
    /// Role in metrics.
    pub(crate) model: &'static str,
    pub(crate) session: SessionHandle,
    /// Shape of one item: channels, height, width.
    pub(crate) item: [usize; 3],
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl ModelRun {
    /// Runs a batch. A single item goes in as it is if nobody else holds it; several are laid one after the other.
    pub(crate) async fn batch(&self, items: Vec<Planes>) -> Result<Outputs, Problem> {
        let shape = vec![items.len(), self.item[0], self.item[1], self.item[2]];
        let data = match <[Planes; 1]>::try_from(items) {
            Ok([only]) => Arc::unwrap_or_clone(only),
            Err(items) => {
                let mut data = Vec::with_capacity(shape.iter().product());
                items.iter().for_each(|i| data.extend_from_slice(i));
                data
            }
        };
        let outcome = match Tensor::new(shape, data) {
            Ok(batch) => self.session.run(batch).await,
            Err(e) => Err(e),
        };
        let outputs = outcome.map_err(|e| problem(e.code(), e))?;
        if let Some(observer) = &self.observer {
            observer.ran(self.model, outputs.elapsed);
        }
        Ok(outputs)
    }
}

/// A library's error as what a caller is told.
pub(crate) fn problem(code: ErrorCode, error: impl std::fmt::Display) -> Problem {
    Problem::new(code, error.to_string())
}

/// What the caller's own thread cannot do.
pub(crate) fn takes_batches() -> Problem {
    Problem::new(ErrorCode::Internal, "this model takes batches of its own accord")
}

/// What the caller's own thread has to do.
pub(crate) fn computes_itself() -> Problem {
    Problem::new(ErrorCode::Internal, "this model runs on its caller's thread")
}

/// `deadline_exceeded` once the deadline has passed; asked between stages, so that no stage starts in vain.
pub(crate) fn in_time(deadline: Instant) -> Result<(), Problem> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(Problem::new(ErrorCode::DeadlineExceeded, "the deadline passed while the job was being worked on"))
    }
}
