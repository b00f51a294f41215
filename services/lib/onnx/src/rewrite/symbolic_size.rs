//! A detector exported for one image size often is fully convolutional: only its declared shapes are fixed. Where
//! every operator works for any height and width, the declared ones become symbolic.

use std::collections::HashSet;

use crate::graph::{constant, constant_ints};
use crate::{
    interface::{is_initialiser, shape_mut},
    proto::{GraphProto, ModelProto, NodeProto, tensor_shape_proto::dimension::Value},
};

/// Operators that do not care how large the image is. Reshape and Resize are looked at one by one.
const ANY_SIZE: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Identity",
    "LeakyRelu",
    "MaxPool",
    "Mul",
    "PRelu",
    "Relu",
    "Sigmoid",
    "Transpose",
];

/// Makes height and width of image inputs symbolic, and with them the axes of outputs that follow from them.
/// Returns whether the graph allowed it; one that does not is left as it was.
pub fn symbolic_size(model: &mut ModelProto) -> bool {
    let Some(graph) = &mut model.graph else { return false };
    let image_sized = image_sized_outputs(graph);
    if !graph.node.iter().all(|n| any_size(graph, n)) || image_sized.is_none() {
        return false;
    }
    let constants: HashSet<_> = graph.initializer.iter().map(|t| t.name().to_owned()).collect();
    for input in graph.input.iter_mut().filter(|v| !constants.contains(v.name())) {
        for (axis, name) in [(2, "H"), (3, "W")] {
            if let Some(d) = shape_mut(input).and_then(|s| s.dim.get_mut(axis)) {
                d.value = Some(Value::DimParam(name.into()));
            }
        }
    }
    for (output, axes) in graph.output.iter_mut().zip(image_sized.unwrap_or_default()) {
        for axis in axes {
            if let Some(d) = shape_mut(output).and_then(|s| s.dim.get_mut(axis)) {
                d.value = None;
            }
        }
    }
    graph.value_info.clear();
    true
}

fn any_size(graph: &GraphProto, node: &NodeProto) -> bool {
    let input = |i: usize| node.input.get(i).map_or("", String::as_str);
    match node.op_type() {
        "Reshape" => constant_ints(graph, input(1)).is_some_and(|target| target.contains(&-1)),
        // Inputs: image, region, scales, sizes. By constant scales the output follows the input.
        "Resize" => constant(graph, input(2)).is_some_and(|t| t.dims != [0]) && input(3).is_empty(),
        op => ANY_SIZE.contains(&op),
    }
}

/// For every output the axes that depend on the image's size: [N,C,H,W] or the detectors' [N,anchors,k].
/// `None` unless all inputs are images and all outputs have one of these forms.
fn image_sized_outputs(graph: &mut GraphProto) -> Option<Vec<Vec<usize>>> {
    let constants: HashSet<_> = graph.initializer.iter().map(|t| t.name().to_owned()).collect();
    debug_assert!(constants.iter().all(|c| is_initialiser(graph, c)));
    let images = graph.input.iter_mut().filter(|v| !constants.contains(v.name()));
    let all_images = images.map(|v| shape_mut(v).map(|s| s.dim.len())).all(|rank| rank == Some(4));
    let axes = |rank| match rank {
        4 => Some(vec![2, 3]),
        3 => Some(vec![1]),
        _ => None,
    };
    let outputs = graph.output.iter_mut().map(|v| axes(shape_mut(v)?.dim.len())).collect();
    if all_images { outputs } else { None }
}
