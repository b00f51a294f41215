//! Why a training run ended without a model. The champion is untouched in every case: nothing is written but the run's
//! own folder.

use std::io;
use std::path::{Path, PathBuf};

use domain::ErrorCode;

/// A failed run.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// A recipe that makes no sense, with what is wrong.
    #[error("the recipe {origin}: {reason}")]
    Recipe {
        /// File or name.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No photo at all.
    #[error("there is nothing to train on: no photo of anybody")]
    NoSamples,
    /// Photos, but none that can be used.
    #[error("none of the {samples} photos can be used; the first one: {first}")]
    NothingUsable {
        /// How many there are.
        samples: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// Too few people to tell apart.
    #[error(
        "training tells people apart: {needed} are needed for {what}, and there are {found} with two usable photos"
    )]
    TooFewIdentities {
        /// What for.
        what: &'static str,
        /// Least number.
        needed: usize,
        /// Number of people with two usable photos.
        found: usize,
    },
    /// One photo that cannot be used; it is left out and counted.
    #[error("{0}")]
    Unreadable(String),
    /// Loss or gradients are no numbers any more.
    #[error(
        "training diverged at step {step}: {what} is not a finite number. Use a lower optimiser.learning_rate or a longer optimiser.warmup"
    )]
    Diverged {
        /// The step.
        step: u64,
        /// The loss, or a gradient.
        what: &'static str,
    },
    /// A graph that cannot be trained.
    #[error("the model cannot be trained: {0}")]
    Model(String),
    /// A run directory that is of another run.
    #[error("{}: {reason}", path.display())]
    Run {
        /// The folder or a file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be read or written.
    #[error("{} cannot be {done}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        done: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// No room for checkpoints. What was written before is whole.
    #[error("the disk is full: {} cannot be written. Free some space and start again: the run goes on from its last checkpoint", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// No room for the features of the method `head`. Nothing was computed.
    #[error(
        "there is no room for {}, which takes {} MB: features of each photo in each of its views. Set head.views lower, give it more room, or take the recipe fine-tune-tail, which keeps none",
        path.display(), needed / 1_000_000
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        needed: u64,
    },
    /// A measure that cannot be taken.
    #[error(transparent)]
    Evaluation(#[from] evaluation::EvaluationError),
}

impl TrainingError {
    /// The code a caller sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Recipe { .. } | Self::NoSamples | Self::NothingUsable { .. } | Self::TooFewIdentities { .. } => {
                ErrorCode::InvalidRequest
            }
            Self::Unreadable(_) => ErrorCode::ImageUndecodable,
            Self::Evaluation(e) => e.code(),
            Self::Run { .. } => ErrorCode::Conflict,
            Self::Diverged { .. } | Self::Model(_) | Self::Io { .. } | Self::DiskFull { .. } | Self::NoRoom { .. } => {
                ErrorCode::Internal
            }
        }
    }

    pub(crate) fn read(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), done: "read", error }
    }

    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, done: "written", error },
        }
    }

    pub(crate) fn not_finite() -> Self {
        Self::Model("it gives values that are no finite numbers before it has learned".into())
    }

    pub(crate) fn run(path: &Path, reason: impl Into<String>) -> Self {
        Self::Run { path: path.to_owned(), reason: reason.into() }
    }
}
