//! Rewrites of a graph between the file and the engine, one per file. Each keeps the graph's results: the tests of
//! the inference crate hold the rewritten models against the shipped ones. Caller: models, when a model is loaded.

mod initialisers_leave_inputs;
mod prelu_as_relu;
mod symbolic_batch;
mod symbolic_size;

pub use initialisers_leave_inputs::initialisers_leave_inputs;
pub use prelu_as_relu::prelu_as_relu;
pub use symbolic_batch::symbolic_batch;
pub use symbolic_size::symbolic_size;

use crate::{
    OnnxError,
    proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto},
    tensor,
};

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
    prelu_as_relu(model)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

fn int_attribute(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(AttributeProto::i)
}

/// A constant by its name: an initialiser, or the value of a `Constant` node.
fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let from_node = || {
        let node = graph.node.iter().find(|n| n.op_type() == "Constant" && n.output.iter().any(|o| o == name))?;
        attribute(node, "value")?.t.as_ref()
    };
    graph.initializer.iter().find(|t| t.name() == name).or_else(from_node)
}

fn constant_ints(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    constant(graph, name).and_then(|t| tensor::i64_data(t).ok())
}

/// A value name that the graph does not use yet.
fn fresh_name(graph: &GraphProto, base: &str) -> String {
    let taken = |n: &str| {
        graph.initializer.iter().any(|t| t.name() == n)
            || graph.node.iter().flat_map(|x| x.input.iter().chain(&x.output)).any(|v| v == n)
    };
    let mut name = base.to_owned();
    while taken(&name) {
        name.push('_');
    }
    name
}

/// Drops the named constants that nothing reads any more; ONNX Runtime warns about each such leftover.
fn drop_unread(graph: &mut GraphProto, names: &[String]) {
    for name in names {
        let read = graph.node.iter().flat_map(|n| &n.input).any(|i| i == name)
            || graph.output.iter().any(|o| o.name() == name);
        if !read {
            graph.initializer.retain(|t| t.name() != name);
            graph.node.retain(|n| n.op_type() != "Constant" || n.output.first() != Some(name));
        }
    }
}
