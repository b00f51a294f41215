//! Why a graph cannot be trained, or a call does not fit it.

use onnx::OnnxError;

/// What can be wrong with a model or with what is given to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An operator that this engine has no backward pass for.
    #[error("{op} `{node}` cannot be trained: this operator is not known")]
    UnknownOperator {
        /// Operator.
        op: String,
        /// The node's name, or its first output where it has none.
        node: String,
    },
    /// A known operator, used in a way that is not.
    #[error("{op} `{node}` cannot be trained: {why}")]
    Unsupported {
        /// Operator.
        op: String,
        /// The node's name, or its first output where it has none.
        node: String,
        /// What stands in the way.
        why: String,
    },
    /// The graph as a whole cannot be trained.
    #[error("the graph cannot be trained: {0}")]
    Graph(String),
    /// A value that was named is not in the graph.
    #[error("the graph has no value `{0}`")]
    NoSuchValue(String),
    /// A damaged constant.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The number of values does not fit.
    #[error("{what} has {given} values and not {wanted}")]
    Length {
        /// What was given.
        what: &'static str,
        /// How many values it has.
        given: usize,
        /// How many it should have.
        wanted: usize,
    },
    /// A batch without samples.
    #[error("a batch has at least one sample")]
    EmptyBatch,
    /// A backward pass without a forward pass of the kind before it.
    #[error("a backward pass follows a forward pass in training, once")]
    NothingToTakeBack,
}
