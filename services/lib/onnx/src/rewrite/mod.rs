//! Rewrites of a graph between the file and the engine, one per file. Each keeps the graph's results: the tests of
//! the inference crate hold the rewritten models against the shipped ones. Caller: models, when a model is loaded.

mod fold_batch_norm;
mod initialisers_leave_inputs;
mod join_heads;
mod prelu_as_relu;
mod symbolic_batch;
mod symbolic_size;

pub use fold_batch_norm::fold_batch_norm;
pub use initialisers_leave_inputs::initialisers_leave_inputs;
pub use join_heads::join_heads;
pub use prelu_as_relu::{channel_slope, prelu_as_relu};
pub use symbolic_batch::symbolic_batch;
pub use symbolic_size::symbolic_size;

use crate::{OnnxError, proto::ModelProto};

/// What every served model needs, wherever it runs: constants out of the inputs, any batch size, and any image size
/// where the graph allows it.
///
/// # Errors
/// [`OnnxError::FixedBatch`] for a graph that mixes its batch with something else.
pub fn for_serving(model: &mut ModelProto) -> Result<(), OnnxError> {
    initialisers_leave_inputs(model);
    symbolic_batch(model)?;
    symbolic_size(model);
    Ok(())
}

/// What makes a graph faster on a CPU, on top of [`for_serving`].
///
/// # Errors
/// [`OnnxError::BadTensor`] for damaged constants.
pub fn for_cpu(model: &mut ModelProto) -> Result<(), OnnxError> {
    fold_batch_norm(model)?;
    prelu_as_relu(model)?;
    join_heads(model)
}
