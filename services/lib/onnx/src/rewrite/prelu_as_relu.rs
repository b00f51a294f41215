//! `PRelu(x) = a·x + (1 − a)·Relu(x)`. ONNX Runtime keeps activations of convolutions in a blocked layout on the CPU,
//! but has no blocked PRelu: each one costs a reorder out and one back in. The sum above stays in the layout.
//!
//! Where the convolution before it belongs to the activation alone, its weights take the factor `1 − a`:
//! with `z = (1 − a)·x` the sum is `a/(1 − a)·z + Relu(z)`, which is one pass over memory less.

use crate::{
    OnnxError,
    graph::{constant, drop_unread_initialisers, fresh_name, node, producer, uses},
    proto::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType},
    tensor::{f32_data, f32_tensor},
};

/// Least `1 − a` that goes into weights: `a/(1 − a)` stays small, and the sign as it is.
const LEAST_FACTOR: f32 = 1.0 / 64.0;

/// Replaces every PRelu with one constant `f32` slope per channel. Others stay as they are.
///
/// # Errors
/// [`OnnxError::BadTensor`] for a slope or weights whose data does not fit its shape.
pub fn prelu_as_relu(model: &mut ModelProto) -> Result<(), OnnxError> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let mut at = 0;
    let mut found = false;
    while at < graph.node.len() {
        let Some(slope) = channel_slope(graph, &graph.node[at])? else {
            at += 1;
            continue;
        };
        found = true;
        let prelu = graph.node.remove(at);
        let scaled = scale_convolution(graph, &prelu.input[0], &slope)?;
        let sum = if scaled { in_two(graph, &prelu, &slope, at) } else { in_three(graph, &prelu, &slope, at) };
        let len = sum.len();
        graph.node.splice(at..at, sum);
        at += len;
    }
    if found {
        drop_unread_initialisers(graph);
    }
    Ok(())
}

/// The slopes, if the node is a PRelu of an image with one slope per channel: shape [C,1,1] or [1,C,1,1].
///
/// # Errors
/// [`OnnxError::BadTensor`] for a slope whose data does not fit its shape.
pub fn channel_slope(graph: &GraphProto, node: &NodeProto) -> Result<Option<Vec<f32>>, OnnxError> {
    let (true, [_, slope], [_]) = (node.op_type() == "PRelu", node.input.as_slice(), node.output.as_slice()) else {
        return Ok(None);
    };
    let per_channel = |t: &&TensorProto| {
        t.data_type() == i32::from(DataType::Float) && matches!(t.dims.as_slice(), [_, 1, 1] | [1, _, 1, 1])
    };
    constant(graph, slope).filter(per_channel).map(f32_data).transpose()
}

/// Multiplies the channels of the convolution that makes `x` with `1 − slope`, if nothing else reads `x` (the
/// activation itself is out of the graph already). Returns whether that was done.
fn scale_convolution(graph: &mut GraphProto, x: &str, slope: &[f32]) -> Result<bool, OnnxError> {
    let free = uses(graph, x) == 0;
    let gentle = slope.iter().all(|a| 1.0 - a >= LEAST_FACTOR);
    let Some(conv) = producer(graph, x).filter(|n| free && gentle && n.op_type() == "Conv" && n.output.len() == 1)
    else {
        return Ok(false);
    };
    let named = |i: usize| conv.input.get(i).filter(|n| !n.is_empty());
    let Some(weights) = named(1).and_then(|w| constant(graph, w)) else { return Ok(false) };
    let (dims, data) = (weights.dims.clone(), f32_data(weights)?);
    let bias = match named(2).map(|b| constant(graph, b)) {
        Some(None) => return Ok(false),
        Some(Some(t)) => Some(f32_data(t)?),
        None => None,
    };
    let rows = slope.len();
    if dims.first().copied() != i64::try_from(rows).ok()
        || data.is_empty()
        || bias.as_ref().is_some_and(|b| b.len() != rows)
    {
        return Ok(false);
    }
    let per = data.len() / rows;
    let scaled: Vec<f32> = data.iter().enumerate().map(|(i, w)| w * (1.0 - slope[i / per])).collect();
    let mut inputs = vec![conv.input[0].clone(), fresh_name(graph, &format!("{x}_scaled_w"))];
    graph.initializer.push(f32_tensor(&inputs[1], &dims, &scaled));
    if let Some(bias) = bias {
        let scaled: Vec<f32> = bias.iter().zip(slope).map(|(b, a)| b * (1.0 - a)).collect();
        inputs.push(fresh_name(graph, &format!("{x}_scaled_b")));
        graph.initializer.push(f32_tensor(&inputs[2], &[dims[0]], &scaled));
    }
    if let Some(conv) = graph.node.iter_mut().find(|n| n.output.first().is_some_and(|o| o == x)) {
        conv.input = inputs;
    }
    Ok(true)
}

/// `a/(1 − a)·z + Relu(z)`.
fn in_two(graph: &mut GraphProto, prelu: &NodeProto, slope: &[f32], i: usize) -> Vec<NodeProto> {
    let [ratio, relu, left] = ["a", "relu", "ax"].map(|part| fresh_name(graph, &format!("prelu_{i}_{part}")));
    let ratios: Vec<f32> = slope.iter().map(|a| a / (1.0 - a)).collect();
    graph.initializer.push(per_channel(&ratio, &ratios));
    let (z, sum) = (prelu.input[0].as_str(), prelu.output[0].as_str());
    vec![node("Relu", &[z], &relu), node("Mul", &[z, &ratio], &left), node("Add", &[&left, &relu], sum)]
}

/// `a·x + (1 − a)·Relu(x)`.
fn in_three(graph: &mut GraphProto, prelu: &NodeProto, slope: &[f32], i: usize) -> Vec<NodeProto> {
    let [a, b, relu, left, right] =
        ["a", "b", "relu", "ax", "br"].map(|part| fresh_name(graph, &format!("prelu_{i}_{part}")));
    let rest: Vec<f32> = slope.iter().map(|a| 1.0 - a).collect();
    graph.initializer.push(per_channel(&a, slope));
    graph.initializer.push(per_channel(&b, &rest));
    let (x, sum) = (prelu.input[0].as_str(), prelu.output[0].as_str());
    vec![
        node("Relu", &[x], &relu),
        node("Mul", &[x, &a], &left),
        node("Mul", &[&relu, &b], &right),
        node("Add", &[&left, &right], sum),
    ]
}

fn per_channel(name: &str, values: &[f32]) -> TensorProto {
    f32_tensor(name, &[1, i64::try_from(values.len()).unwrap_or(i64::MAX), 1, 1], values)
}
