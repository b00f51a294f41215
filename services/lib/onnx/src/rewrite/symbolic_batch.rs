//! A graph exported with batch 1 mostly computes any batch, but for its declared shapes and for constants that have
//! the 1 baked in. Here the first axis of inputs and outputs becomes `N`, and the constants are set right.

use std::collections::HashSet;

use crate::graph::{attribute, constant_ints, drop_unread, fresh_name, int_attribute};
use crate::{
    OnnxError,
    interface::shape_mut,
    proto::{
        GraphProto, ModelProto, NodeProto, TensorShapeProto,
        tensor_shape_proto::{Dimension, dimension::Value},
    },
    tensor,
};

/// Name of the batch axis in the declared shapes.
const BATCH: &str = "N";

/// Makes the first axis of every input and output symbolic, so that a batch of n equals n singles. Declared shapes of
/// inner values are dropped, as they hold the old batch.
///
/// # Errors
/// [`OnnxError::FixedBatch`] where an operator moves the batch to another axis, removes it or mixes its items.
pub fn symbolic_batch(model: &mut ModelProto) -> Result<(), OnnxError> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let carriers = batch_carriers(graph);
    let mut replaced = Vec::new();
    for i in 0..graph.node.len() {
        if !graph.node[i].input.first().is_some_and(|x| carriers.contains(x)) {
            continue;
        }
        check(graph, &graph.node[i])?;
        if graph.node[i].op_type() == "Reshape" {
            replaced.extend(free_reshape(graph, i)?);
        }
    }
    drop_unread(graph, &replaced);
    declare(graph, &carriers);
    graph.value_info.clear();
    Ok(())
}

/// Values with the batch as their first axis. Sizes taken from such values, and what is computed from sizes, are not.
fn batch_carriers(graph: &GraphProto) -> HashSet<String> {
    let constants: HashSet<_> = graph.initializer.iter().map(|t| t.name()).collect();
    let mut carriers: HashSet<String> =
        graph.input.iter().map(|v| v.name()).filter(|n| !constants.contains(n)).map(Into::into).collect();
    for node in &graph.node {
        let sizes = matches!(node.op_type(), "Shape" | "Size");
        if !sizes && node.input.iter().any(|i| carriers.contains(i)) {
            carriers.extend(node.output.iter().cloned());
        }
    }
    carriers
}

/// Refuses operators that treat the first axis as anything but a batch.
fn check(graph: &GraphProto, node: &NodeProto) -> Result<(), OnnxError> {
    let axis = |default| int_attribute(node, "axis").unwrap_or(default);
    // Up to a certain operator set the axes are an attribute, later an input.
    let axes = || {
        let from_input = || node.input.get(1).and_then(|name| constant_ints(graph, name));
        attribute(node, "axes").map(|a| a.ints.clone()).or_else(from_input)
    };
    let why = match node.op_type() {
        "Transpose" if attribute(node, "perm").and_then(|p| p.ints.first()) != Some(&0) => "moves the batch",
        "Flatten" | "Softmax" | "LogSoftmax" if axis(1) == 0 => "works along the batch",
        "Gather" | "Split" | "Concat" if axis(0) == 0 => "works along the batch",
        "Squeeze" | "Unsqueeze" if axes().is_none_or(|a| a.contains(&0)) => "moves the batch",
        op if op.starts_with("Reduce") && axes().is_none_or(|a| a.is_empty() || a.contains(&0)) => {
            "sums over the batch"
        }
        "Resize" if node.input.get(3).is_some_and(|s| constant_ints(graph, s).is_some()) => "has a fixed output size",
        "Gemm" if int_attribute(node, "transA") == Some(1) => "moves the batch",
        "If" | "Loop" | "Scan" => "has a graph inside",
        _ => return Ok(()),
    };
    Err(refusal(node, why))
}

/// Sets right a constant reshape target of the node at `i`; returns the name of the constant it no longer reads.
fn free_reshape(graph: &mut GraphProto, i: usize) -> Result<Option<String>, OnnxError> {
    let node = &graph.node[i];
    let Some(old) = node.input.get(1).cloned() else { return Ok(None) };
    let Some(target) = constant_ints(graph, &old) else { return Ok(None) };
    if int_attribute(node, "allowzero") == Some(1) {
        return Err(refusal(node, "gives 0 another meaning (allowzero)"));
    }
    // In a target, 0 stands for "as in the input" and -1 for "what is left".
    let freed = match target.as_slice() {
        [0, ..] => return Ok(None),
        [1, rest @ ..] => [&[0], rest].concat(),
        [-1, k] if is_detector_head(graph, node) => vec![0, -1, *k],
        [-1, rest @ ..] if !rest.contains(&-1) => return Ok(None),
        _ => return Err(refusal(node, "has a batch of its own")),
    };
    let name = fresh_name(graph, &format!("{old}_batch_{i}"));
    let len = i64::try_from(freed.len()).unwrap_or(i64::MAX);
    graph.initializer.push(tensor::i64_tensor(&name, &[len], &freed));
    graph.node[i].input[1] = name;
    Ok(Some(old))
}

/// Detectors exported for one image end in [1,h,w,a*k] -> [h*w*a,k] -> (sigmoid) -> output; with a batch in front the
/// anchors of different images stay apart. Only where nothing behind the reshape minds one more axis.
fn is_detector_head(graph: &GraphProto, reshape: &NodeProto) -> bool {
    let by_channels_last = |x: &str| {
        graph.node.iter().any(|n| {
            n.op_type() == "Transpose"
                && n.output.iter().any(|o| o == x)
                && attribute(n, "perm").is_some_and(|p| p.ints == [0, 2, 3, 1])
        })
    };
    let elementwise = |n: &NodeProto| matches!(n.op_type(), "Sigmoid" | "Identity");
    let mut todo = reshape.output.clone();
    // A damaged file may hold a circle.
    let mut seen = HashSet::new();
    while let Some(value) = todo.pop() {
        if !seen.insert(value.clone()) {
            continue;
        }
        for reader in graph.node.iter().filter(|n| n.input.contains(&value)) {
            if !elementwise(reader) {
                return false;
            }
            todo.extend(reader.output.iter().cloned());
        }
    }
    reshape.input.first().is_some_and(|x| by_channels_last(x))
}

/// Writes `N` into the declared shapes. An output that was [anchors,k] got an axis in front.
fn declare(graph: &mut GraphProto, carriers: &HashSet<String>) {
    let lifted: Vec<bool> = graph.output.iter().map(|o| behind_detector_head(graph, o.name())).collect();
    let batch = || Some(Value::DimParam(BATCH.into()));
    let set = |shape: &mut TensorShapeProto| {
        if let Some(first) = shape.dim.first_mut() {
            first.value = batch();
        }
    };
    graph.input.iter_mut().filter(|v| carriers.contains(v.name())).filter_map(shape_mut).for_each(set);
    for (output, lifted) in graph.output.iter_mut().zip(lifted).filter(|(v, _)| carriers.contains(v.name())) {
        let Some(shape) = shape_mut(output) else { continue };
        if lifted && shape.dim.len() == 2 {
            shape.dim[0].value = None;
            shape.dim.insert(0, Dimension::default());
        }
        set(shape);
    }
}

/// Whether the output comes, through elementwise operators, from a three-axis reshape.
fn behind_detector_head(graph: &GraphProto, output: &str) -> bool {
    let mut value = output;
    // No path is longer than the graph; a damaged file may hold a circle.
    for _ in 0..graph.node.len() {
        let maker = graph.node.iter().find(|n| n.output.iter().any(|o| o == value));
        let Some(node) = maker else { return false };
        let Some(input) = node.input.first() else { return false };
        match node.op_type() {
            "Reshape" => {
                let target = node.input.get(1).and_then(|t| constant_ints(graph, t));
                return target.is_some_and(|t| matches!(t.as_slice(), [0, -1, _]));
            }
            "Sigmoid" | "Identity" => value = input,
            _ => return false,
        }
    }
    false
}

fn refusal(node: &NodeProto, why: &'static str) -> OnnxError {
    let name = if node.name().is_empty() { node.output.first().map_or("", String::as_str) } else { node.name() };
    OnnxError::FixedBatch { op: node.op_type().into(), node: name.into(), why }
}
