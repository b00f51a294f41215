//! The pipeline's stages, one file each: decode → detect → align → embed → search → respond.

pub mod align;
pub mod decode;
pub mod detect;
pub mod embed;
pub mod respond;
pub mod search;

use std::{sync::Arc, time::Instant};

use domain::{ErrorCode, Problem};

use crate::batcher::{Observer, Policy};

/// How a stage batches, and who is told of it.
#[derive(Clone)]
pub struct Batching {
    /// When to run how many.
    pub(crate) policy: Policy,
    /// Told of every batch.
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

/// `deadline_exceeded` once the deadline has passed; asked between stages, so that no stage starts in vain.
pub(crate) fn in_time(deadline: Instant) -> Result<(), Problem> {
    if Instant::now() < deadline {
        Ok(())
    } else {
        Err(Problem::new(ErrorCode::DeadlineExceeded, "the deadline passed while the job was being worked on"))
    }
}
