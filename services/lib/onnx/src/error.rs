//! What can be wrong with an ONNX file or with a rewrite of one. Callers: models (at load), training tools.

/// Why a graph could not be read or rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// Not the protobuf encoding of a model.
    #[error("this is not an ONNX model: {0}")]
    NotOnnx(String),
    /// Holds a field that this build would lose on writing.
    #[error("the model has field {field} in {message}, which is newer than this program knows")]
    UnknownField {
        /// The message that has the field.
        message: &'static str,
        /// Its number.
        field: u32,
    },
    /// Weights in files beside the model.
    #[error("the weights of `{0}` lie in another file; save the model as one file")]
    ExternalData(String),
    /// The graph works for one image at a time only, in a way that is not understood.
    #[error("the graph cannot be given a symbolic batch: {op} `{node}` {why}")]
    FixedBatch {
        /// Operator.
        op: String,
        /// The node, or its first output where it has no name.
        node: String,
        /// What stands in the way.
        why: &'static str,
    },
    /// A tensor whose data does not fit its type and shape.
    #[error("the tensor `{name}` {why}")]
    BadTensor {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}
