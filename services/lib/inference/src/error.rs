//! What can go wrong between a batch and its outputs. Reported by the worker per item, at start by the binary.

use std::path::PathBuf;

use domain::{ErrorCode, Problem};

/// Why a model could not be loaded or run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The ONNX Runtime library cannot be loaded.
    #[error("ONNX Runtime cannot be loaded from {}: {reason}", path.display())]
    Library {
        /// The file that was tried.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// The process already runs another ONNX Runtime.
    #[error("ONNX Runtime is already loaded from {}; a process holds one only", loaded.display())]
    OtherLibraryLoaded {
        /// The one in use.
        loaded: PathBuf,
    },
    /// The provider asked for is not there.
    #[error("the execution provider `{provider}` is not available: {reason}")]
    ProviderUnavailable {
        /// As configured.
        provider: &'static str,
        /// What is missing.
        reason: String,
    },
    /// The runtime refuses the graph.
    #[error("the model `{model}` cannot be loaded: {reason}")]
    Load {
        /// Name in the manifest.
        model: String,
        /// The runtime's words.
        reason: String,
    },
    /// The graph is not the one its manifest describes.
    #[error("the model `{model}` does not fit its manifest: {reason}")]
    ManifestMismatch {
        /// Name in the manifest.
        model: String,
        /// Expected and found.
        reason: String,
    },
    /// The caller's tensor has the wrong shape.
    #[error("the input tensor {0}")]
    Shape(String),
    /// The run failed.
    #[error("the run failed: {0}")]
    Run(String),
    /// The session's thread is gone; a restart is needed.
    #[error("the session thread of `{0}` has ended")]
    SessionEnded(String),
}

impl InferenceError {
    /// The code a caller of the service sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Shape(_) | Self::Run(_) => ErrorCode::InferenceFailed,
            Self::Library { .. }
            | Self::OtherLibraryLoaded { .. }
            | Self::ProviderUnavailable { .. }
            | Self::Load { .. }
            | Self::ManifestMismatch { .. }
            | Self::SessionEnded(_) => ErrorCode::ModelNotReady,
        }
    }
}

impl From<InferenceError> for Problem {
    fn from(error: InferenceError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
