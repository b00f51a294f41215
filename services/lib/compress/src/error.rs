//! Why a model could not be made smaller. Callers: the command that asked.

use domain::ErrorCode;
use onnx::OnnxError;

/// Why a model could not be quantised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// The file is no graph that can be read and rewritten.
    #[error(transparent)]
    Graph(#[from] OnnxError),
    /// The graph means something else in the operator set that 8-bit weights need.
    #[error("the operator {op} cannot be brought from operator set {from} to {to}")]
    OperatorSet {
        /// The operator; empty where the set itself is too old.
        op: String,
        /// The model's.
        from: i64,
        /// The least that is needed.
        to: i64,
    },
    /// Nothing in the graph would be quantised.
    #[error(
        "nothing in this graph can be quantised: it has no convolution with constant weights and four or more input channels"
    )]
    NothingToDo,
    /// It is 8 bits wide already.
    #[error("the model is quantised already (it has {0})")]
    Already(String),
    /// No samples.
    #[error("there is nothing to calibrate with")]
    NoSamples,
    /// A sample gave no such value, or one that is not finite.
    #[error("the value `{value}` {why}")]
    Observation {
        /// Its name in the graph.
        value: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl CompressError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::ModelNotReady
    }
}
