//! Detectors with one small head per kind of output (class, box, points) run many convolutions of a few channels
//! each, and every one is padded to a whole block of channels. Heads of the same form on the same features become one:
//! the weights lie behind each other, and the result is split into the old outputs.

use crate::{
    OnnxError,
    graph::{
        attribute, constant, constant_ints, drop_unread_initialisers, fresh_name, int, int_attribute, ints, node,
        only_reader, operator_set,
    },
    proto::{GraphProto, ModelProto, NodeProto},
    tensor::{f32_data, f32_tensor, i64_tensor},
};

/// First operator set in which the sizes of a Split are an input.
const SPLIT_SIZES_ARE_AN_INPUT: i64 = 13;

/// One head: features → Conv 1×1 → depthwise Conv → Transpose to channels last → Reshape [0,-1,k] → value.
struct Head {
    features: String,
    /// Outputs of the five nodes, in the order above.
    values: [String; 4],
    /// Channels.
    width: i64,
}

/// Weights and bias of one convolution, rows first.
struct Weights {
    dims: Vec<i64>,
    data: Vec<f32>,
    bias: Vec<f32>,
}

/// Joins heads that read the same features, in the order of the graph. A graph without such heads stays as it is.
///
/// # Errors
/// [`OnnxError::BadTensor`] for weights whose data does not fit their shape.
pub fn join_heads(model: &mut ModelProto) -> Result<(), OnnxError> {
    let version = operator_set(model);
    let Some(graph) = &mut model.graph else { return Ok(()) };
    let heads: Vec<Head> = graph.node.iter().filter_map(|n| head(graph, n)).collect();
    let mut features: Vec<&str> = heads.iter().map(|h| h.features.as_str()).collect();
    features.sort_unstable();
    features.dedup();
    let mut joined = false;
    for of in features {
        let group: Vec<&Head> = heads.iter().filter(|h| h.features == of).collect();
        joined |= group.len() > 1 && join(graph, &group, version)?;
    }
    if joined {
        drop_unread_initialisers(graph);
    }
    Ok(())
}

/// The head that begins with this node.
fn head(graph: &GraphProto, first: &NodeProto) -> Option<Head> {
    let output = |n: &NodeProto| n.output.first().cloned();
    let features = first.input.first()?.clone();
    let depthwise = only_reader(graph, first.output.first()?)?;
    let transpose = only_reader(graph, depthwise.output.first()?)?;
    let reshape = only_reader(graph, transpose.output.first()?)?;
    let channels = |n: &NodeProto| constant(graph, n.input.get(1)?)?.dims.first().copied();
    let width = channels(first)?;
    let target = constant_ints(graph, reshape.input.get(1)?)?;
    let last = attribute(transpose, "perm").is_some_and(|p| p.ints == [0, 2, 3, 1]);
    let fits = first.op_type() == "Conv"
        && int_attribute(first, "group").unwrap_or(1) == 1
        && form(first) == ([1, 1], [1, 1], [0, 0, 0, 0])
        && depthwise.op_type() == "Conv"
        && int_attribute(depthwise, "group").unwrap_or(1) == width
        && channels(depthwise) == Some(width)
        && form(depthwise) == ([3, 3], [1, 1], [1, 1, 1, 1])
        && transpose.op_type() == "Transpose"
        && last
        && reshape.op_type() == "Reshape"
        && int_attribute(reshape, "allowzero").unwrap_or(0) == 0
        && target == [0, -1, width];
    let values = [output(first)?, output(depthwise)?, output(transpose)?, output(reshape)?];
    fits.then_some(Head { features, values, width })
}

/// Kernel, strides and padding; zeros where they are not plainly given.
fn form(conv: &NodeProto) -> ([i64; 2], [i64; 2], [i64; 4]) {
    let list = |name: &str| attribute(conv, name).map_or(&[][..], |a| a.ints.as_slice());
    let plain =
        list("dilations").iter().all(|d| *d == 1) && attribute(conv, "auto_pad").is_none_or(|a| a.s() == b"NOTSET");
    if !plain {
        return ([0; 2], [0; 2], [0; 4]);
    }
    let strides = list("strides").try_into().unwrap_or([1; 2]);
    (list("kernel_shape").try_into().unwrap_or([0; 2]), strides, list("pads").try_into().unwrap_or([0; 4]))
}

fn join(graph: &mut GraphProto, group: &[&Head], version: i64) -> Result<bool, OnnxError> {
    let mut stacked = Vec::with_capacity(2);
    for stage in 0..2 {
        let parts = group.iter().map(|h| weights(graph, &h.values[stage])).collect::<Result<Option<Vec<_>>, _>>()?;
        let Some(parts) = parts else { return Ok(false) };
        if parts.windows(2).any(|p| p[0].dims[1..] != p[1].dims[1..]) {
            return Ok(false);
        }
        stacked.push(stack(&parts));
    }
    let old: Vec<&String> = group.iter().flat_map(|h| &h.values).collect();
    let makes_old = |n: &NodeProto| n.output.first().is_some_and(|o| old.contains(&o));
    let Some(at) = graph.node.iter().position(makes_old) else { return Ok(false) };
    let new = nodes(graph, group, &stacked, version);
    graph.node.retain(|n| !makes_old(n));
    graph.node.splice(at..at, new);
    Ok(true)
}

fn nodes(graph: &mut GraphProto, group: &[&Head], stacked: &[Weights], version: i64) -> Vec<NodeProto> {
    let base = format!("heads_{}", group[0].features);
    let [points, deep, last, flat, target, sizes] =
        ["1x1", "3x3", "last", "flat", "target", "sizes"].map(|part| fresh_name(graph, &format!("{base}_{part}")));
    let widths: Vec<i64> = group.iter().map(|h| h.width).collect();
    let width = widths.iter().sum();
    let mut conv = |from: &str, to: &str, weights: &Weights, attributes: [(&str, &[i64]); 2]| {
        let [w, b] = ["w", "b"].map(|part| fresh_name(graph, &format!("{to}_{part}")));
        graph.initializer.push(f32_tensor(&w, &weights.dims, &weights.data));
        graph.initializer.push(f32_tensor(&b, &[width], &weights.bias));
        let mut conv = node("Conv", &[from, &w, &b], to);
        conv.attribute = attributes.iter().map(|(name, values)| ints(name, values)).collect();
        conv
    };
    let first = conv(&group[0].features, &points, &stacked[0], [("kernel_shape", &[1, 1]), ("pads", &[0; 4])]);
    let mut second = conv(&points, &deep, &stacked[1], [("kernel_shape", &[3, 3]), ("pads", &[1; 4])]);
    second.attribute.push(int("group", width));
    let mut transpose = node("Transpose", &[&deep], &last);
    transpose.attribute.push(ints("perm", &[0, 2, 3, 1]));
    graph.initializer.push(i64_tensor(&target, &[3], &[0, -1, width]));
    let reshape = node("Reshape", &[&last, &target], &flat);
    let mut split = node("Split", &[&flat], &group[0].values[3]);
    split.output = group.iter().map(|h| h.values[3].clone()).collect();
    split.attribute.push(int("axis", 2));
    if version < SPLIT_SIZES_ARE_AN_INPUT {
        split.attribute.push(ints("split", &widths));
    } else {
        graph.initializer.push(i64_tensor(&sizes, &[i64::try_from(widths.len()).unwrap_or(0)], &widths));
        split.input.push(sizes);
    }
    vec![first, second, transpose, reshape, split]
}

/// Constant weights and bias of the convolution that makes `output`.
fn weights(graph: &GraphProto, output: &str) -> Result<Option<Weights>, OnnxError> {
    let Some(conv) = crate::graph::producer(graph, output) else { return Ok(None) };
    let named = |i: usize| conv.input.get(i).filter(|n| !n.is_empty());
    let Some(t) = named(1).and_then(|w| constant(graph, w)) else { return Ok(None) };
    let (dims, data) = (t.dims.clone(), f32_data(t)?);
    let rows = usize::try_from(dims[0]).unwrap_or(0);
    if rows == 0 || rows > data.len() {
        return Ok(None);
    }
    let bias = match named(2).map(|b| constant(graph, b)) {
        None => vec![0.0; rows],
        Some(Some(t)) => f32_data(t)?,
        Some(None) => return Ok(None),
    };
    Ok((bias.len() == rows).then_some(Weights { dims, data, bias }))
}

fn stack(parts: &[Weights]) -> Weights {
    let mut dims = parts[0].dims.clone();
    dims[0] = parts.iter().map(|p| p.dims[0]).sum();
    Weights {
        dims,
        data: parts.iter().flat_map(|p| p.data.clone()).collect(),
        bias: parts.iter().flat_map(|p| p.bias.clone()).collect(),
    }
}
