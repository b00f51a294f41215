//! Why a run does not go on here, and why a trainer does not start.

use std::path::PathBuf;

use crops::CropsError;
use domain::{ErrorCode, RunFailure, RunFailureCode};
use models::ModelError;
use objects::ObjectsError;
use queue::QueueError;
use seal::SealError;
use store::{RepoError, StoreError};

/// Why a run does not go on here.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// It has failed.
    #[error(transparent)]
    Failed(#[from] RunFailure),
    /// It was cancelled, or another trainer has it.
    #[error("the run has ended or is another trainer's")]
    NotOurs,
    /// The trainer is to stop; another goes on with the run.
    #[error("the trainer stops")]
    Draining,
    /// Somebody who is in the dataset must not be in it any more.
    #[error("a consent has changed")]
    Changed,
    /// Store or objects are away; the run is to be tried again.
    #[error("put off: {0}")]
    Later(String),
}

impl Halt {
    /// A failure of the run.
    pub fn failed(code: RunFailureCode, detail: impl Into<String>) -> Self {
        Self::Failed(RunFailure::new(code, detail))
    }

    /// A defect.
    pub fn internal(what: impl std::fmt::Display) -> Self {
        Self::failed(RunFailureCode::Internal, what.to_string())
    }
}

impl From<RepoError> for Halt {
    fn from(e: RepoError) -> Self {
        Self::Later(e.to_string())
    }
}

impl From<StoreError> for Halt {
    fn from(e: StoreError) -> Self {
        Self::Later(e.to_string())
    }
}

impl From<ObjectsError> for Halt {
    fn from(e: ObjectsError) -> Self {
        match e {
            ObjectsError::Full(_) => Self::failed(RunFailureCode::StorageFull, e.to_string()),
            e => Self::Later(e.to_string()),
        }
    }
}

impl From<SealError> for Halt {
    fn from(e: SealError) -> Self {
        Self::internal(format!("what was kept of the run cannot be read: {e}"))
    }
}

impl From<CropsError> for Halt {
    fn from(e: CropsError) -> Self {
        Self::Later(e.to_string())
    }
}

/// Why a trainer does not start.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The queue refused the consumer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Metrics of these names exist.
    #[error("the trainer's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The model in use cannot be found.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// A folder that is not fit for what must not lie in the clear.
    #[error("trainer.scratch_dir {} {why}", .folder.display())]
    Scratch {
        /// Which.
        folder: PathBuf,
        /// Why not.
        why: String,
    },
    /// There is no place for checkpoints and models.
    #[error("{}", CropsError::Nowhere)]
    Nowhere,
}

impl TrainerError {
    /// The code a caller would see; nobody does.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Queue(e) => e.code(),
            Self::Models(_) => ErrorCode::ModelNotReady,
            Self::Metrics(_) | Self::Scratch { .. } | Self::Nowhere => ErrorCode::Internal,
        }
    }
}
