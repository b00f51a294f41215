//! `PRelu(x) = a*x + (1 - a)*Relu(x)`. ONNX Runtime keeps activations of convolutions in a blocked layout on the CPU,
//! but has no blocked PRelu: each one costs a reorder out and one back in. The sum above stays in the layout.

use super::{constant, drop_unread, fresh_name};
use crate::{
    OnnxError,
    proto::{GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto::DataType},
    tensor,
};

/// Replaces every PRelu with one constant `f32` slope per channel. Others stay as they are.
///
/// # Errors
/// [`OnnxError::BadTensor`] for a slope whose data does not fit its shape.
pub fn prelu_as_relu(model: &mut ModelProto) -> Result<(), OnnxError> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let mut old_slopes = Vec::new();
    let mut rewritten = Vec::with_capacity(graph.node.len());
    for (i, node) in graph.node.clone().into_iter().enumerate() {
        match channel_slope(graph, &node)? {
            Some(slope) => {
                rewritten.extend(expand(graph, &node, &slope, i));
                old_slopes.push(node.input[1].clone());
            }
            None => rewritten.push(node),
        }
    }
    graph.node = rewritten;
    drop_unread(graph, &old_slopes);
    Ok(())
}

/// The slopes, if the node is a PRelu of an image with one slope per channel: shape [C,1,1] or [1,C,1,1].
fn channel_slope(graph: &GraphProto, node: &NodeProto) -> Result<Option<Vec<f32>>, OnnxError> {
    let (true, [_, slope]) = (node.op_type() == "PRelu", node.input.as_slice()) else { return Ok(None) };
    let per_channel = |t: &&TensorProto| {
        t.data_type() == i32::from(DataType::Float) && matches!(t.dims.as_slice(), [_, 1, 1] | [1, _, 1, 1])
    };
    constant(graph, slope).filter(per_channel).map(tensor::f32_data).transpose()
}

fn expand(graph: &mut GraphProto, prelu: &NodeProto, slope: &[f32], i: usize) -> [NodeProto; 4] {
    let channels = i64::try_from(slope.len()).unwrap_or(i64::MAX);
    let rest: Vec<f32> = slope.iter().map(|a| 1.0 - a).collect();
    let [a, b, relu, left, right] =
        ["a", "b", "relu", "ax", "br"].map(|part| fresh_name(graph, &format!("prelu_{i}_{part}")));
    let dims = [1, channels, 1, 1];
    graph.initializer.push(tensor::f32_tensor(&a, &dims, slope));
    graph.initializer.push(tensor::f32_tensor(&b, &dims, &rest));
    let x = prelu.input[0].as_str();
    let sum = prelu.output.first().map_or("", String::as_str);
    // A node is named after its value: names of nodes have to differ too.
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op}_{output}")),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    [
        node("Relu", &[x], &relu),
        node("Mul", &[x, &a], &left),
        node("Mul", &[&relu, &b], &right),
        node("Add", &[&left, &right], sum),
    ]
}
