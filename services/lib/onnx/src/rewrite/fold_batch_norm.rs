//! A batch normalisation with fixed statistics is a scale and a shift per channel: both go into the weights of the
//! convolution or the matrix product before it, or of the product behind it. Engines do part of this; here it is done
//! so that the rewrites that follow see a convolution and its activation side by side.

use crate::{
    OnnxError,
    graph::{attribute, constant, drop_unread_initialisers, fresh_name, int_attribute, only_reader, producer},
    proto::{GraphProto, ModelProto, NodeProto},
    tensor::{f32_data, f32_tensor},
};

/// `y = scale · x + shift`, by channel.
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// Folds every BatchNormalization that lies directly behind a Conv or Gemm, or before a flattening Gemm, and drops
/// Dropout, which does nothing outside training. Others stay as they are.
///
/// # Errors
/// [`OnnxError::BadTensor`] for constants whose data does not fit their shape.
pub fn fold_batch_norm(model: &mut ModelProto) -> Result<(), OnnxError> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    drop_dropouts(graph);
    let names: Vec<String> = graph.node.iter().filter(|n| n.op_type() == "BatchNormalization").map(made).collect();
    for output in names {
        let Some(at) = graph.node.iter().position(|n| n.op_type() == "BatchNormalization" && made(n) == output) else {
            continue;
        };
        let Some(affine) = affine(graph, &graph.node[at])? else { continue };
        if !fold_backward(graph, at, &affine)? {
            fold_forward(graph, at, &affine)?;
        }
    }
    drop_unread_initialisers(graph);
    Ok(())
}

fn made(node: &NodeProto) -> String {
    node.output.first().cloned().unwrap_or_default()
}

/// Takes out Dropout nodes whose mask nobody reads; readers get the input instead.
fn drop_dropouts(graph: &mut GraphProto) {
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
    while let Some(at) = graph.node.iter().position(|n| {
        n.op_type() == "Dropout"
            && matches!(n.output.as_slice(), [o] if !outputs.contains(o) && n.input.first().is_some_and(|i| i != o))
    }) {
        let node = graph.node.remove(at);
        let [from, to] = [node.output[0].clone(), node.input[0].clone()];
        for input in graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| **i == from) {
            input.clone_from(&to);
        }
    }
}

/// The node's scale and shift, if its statistics are constants.
fn affine(graph: &GraphProto, node: &NodeProto) -> Result<Option<Affine>, OnnxError> {
    let [_, gamma, beta, mean, variance] = node.input.as_slice() else { return Ok(None) };
    let mut parts = Vec::with_capacity(4);
    for name in [gamma, beta, mean, variance] {
        let Some(t) = constant(graph, name) else { return Ok(None) };
        parts.push(f32_data(t)?);
    }
    let [gamma, beta, mean, variance] = parts.as_slice() else { return Ok(None) };
    if node.output.len() != 1 || [beta, mean, variance].iter().any(|p| p.len() != gamma.len()) {
        return Ok(None);
    }
    let epsilon = f64::from(attribute(node, "epsilon").map_or(1e-5, |a| a.f()));
    let scale: Vec<f64> =
        gamma.iter().zip(variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| f64::from(*b) - f64::from(*m) * s).collect();
    Ok(Some(Affine { scale, shift }))
}

/// Into the Conv or Gemm before it. Returns whether there is one that nothing else reads.
fn fold_backward(graph: &mut GraphProto, at: usize, affine: &Affine) -> Result<bool, OnnxError> {
    let x = graph.node[at].input[0].clone();
    let Some(maker) = producer(graph, &x).filter(|_| only_reader(graph, &x).is_some()) else { return Ok(false) };
    let fits = maker.op_type() == "Conv" || (maker.op_type() == "Gemm" && plain_gemm(maker));
    let channels = affine.scale.len();
    let Some((weights, bias)) = (if fits { weights_and_bias(graph, maker, channels)? } else { None }) else {
        return Ok(false);
    };
    let per = weights.1.len() / channels;
    let scaled: Vec<f32> =
        weights.1.iter().enumerate().map(|(i, w)| narrow(f64::from(*w) * affine.scale[i / per])).collect();
    let shifted: Vec<f32> =
        (0..channels).map(|c| narrow(f64::from(bias[c]) * affine.scale[c] + affine.shift[c])).collect();
    let maker = made(maker);
    let output = made(&graph.node[at]);
    set_weights(graph, &maker, &(weights.0, scaled), &shifted);
    graph.node.remove(at);
    rename_output(graph, &maker, &output);
    Ok(true)
}

/// Into the Gemm that reads it through a Flatten: each of its columns belongs to one channel.
fn fold_forward(graph: &mut GraphProto, at: usize, affine: &Affine) -> Result<(), OnnxError> {
    let (x, y) = (graph.node[at].input[0].clone(), made(&graph.node[at]));
    let flatten = only_reader(graph, &y).filter(|n| n.op_type() == "Flatten" && axis_one(n)).map(made);
    let Some(flat) = flatten else { return Ok(()) };
    let Some(gemm) = only_reader(graph, &flat).filter(|n| n.op_type() == "Gemm" && plain_gemm(n)) else {
        return Ok(());
    };
    if gemm.input.first() != Some(&flat) {
        return Ok(());
    }
    let rows = gemm.input.get(1).and_then(|w| constant(graph, w)).and_then(|t| t.dims.first().copied());
    let rows = usize::try_from(rows.unwrap_or(0)).unwrap_or(0);
    let channels = affine.scale.len();
    let Some(((dims, weights), bias)) = weights_and_bias(graph, gemm, rows)? else { return Ok(()) };
    let columns = weights.len() / rows;
    if channels == 0 || columns % channels != 0 {
        return Ok(());
    }
    let per = columns / channels;
    let mut scaled = Vec::with_capacity(weights.len());
    let mut shifted = Vec::with_capacity(rows);
    for (row, b) in weights.chunks_exact(columns).zip(&bias) {
        scaled.extend(row.iter().enumerate().map(|(i, w)| narrow(f64::from(*w) * affine.scale[i / per])));
        let moved: f64 = row.iter().enumerate().map(|(i, w)| f64::from(*w) * affine.shift[i / per]).sum();
        shifted.push(narrow(f64::from(*b) + moved));
    }
    let gemm = made(gemm);
    set_weights(graph, &gemm, &(dims, scaled), &shifted);
    graph.node.remove(at);
    for input in graph.node.iter_mut().flat_map(|n| &mut n.input).filter(|i| **i == y) {
        input.clone_from(&x);
    }
    Ok(())
}

fn axis_one(flatten: &NodeProto) -> bool {
    int_attribute(flatten, "axis").unwrap_or(1) == 1
}

/// `x · Wᵀ + b` and nothing else.
fn plain_gemm(node: &NodeProto) -> bool {
    let one = |name| attribute(node, name).is_none_or(|a| (a.f() - 1.0).abs() < f32::EPSILON);
    int_attribute(node, "transB") == Some(1)
        && int_attribute(node, "transA").unwrap_or(0) == 0
        && one("alpha")
        && one("beta")
}

/// Shape and elements of constant weights, rows first, and the bias (zeros where there is none).
type Weights = ((Vec<i64>, Vec<f32>), Vec<f32>);

fn weights_and_bias(graph: &GraphProto, node: &NodeProto, rows: usize) -> Result<Option<Weights>, OnnxError> {
    let Some(weights) = node.input.get(1).and_then(|w| constant(graph, w)) else { return Ok(None) };
    let (dims, data) = (weights.dims.clone(), f32_data(weights)?);
    if rows == 0 || data.is_empty() || dims.first().copied() != i64::try_from(rows).ok() {
        return Ok(None);
    }
    let bias = match node.input.get(2).filter(|b| !b.is_empty()) {
        None => vec![0.0; rows],
        Some(name) => match constant(graph, name) {
            Some(t) => f32_data(t)?,
            None => return Ok(None),
        },
    };
    Ok((bias.len() == rows).then_some(((dims, data), bias)))
}

/// Gives the node that makes `output` weights and a bias of its own; others may share the old ones.
fn set_weights(graph: &mut GraphProto, output: &str, weights: &(Vec<i64>, Vec<f32>), bias: &[f32]) {
    let [w, b] = ["folded_w", "folded_b"].map(|part| fresh_name(graph, &format!("{output}_{part}")));
    graph.initializer.push(f32_tensor(&w, &weights.0, &weights.1));
    let rows = i64::try_from(bias.len()).unwrap_or(i64::MAX);
    graph.initializer.push(f32_tensor(&b, &[rows], bias));
    let Some(node) = graph.node.iter_mut().find(|n| n.output.first().is_some_and(|o| o == output)) else { return };
    node.input.truncate(1);
    node.input.extend([w, b]);
}

fn rename_output(graph: &mut GraphProto, from: &str, to: &str) {
    for output in graph.node.iter_mut().flat_map(|n| &mut n.output).filter(|o| *o == from) {
        to.clone_into(output);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32; the fold is computed in f64")]
fn narrow(v: f64) -> f32 {
    v as f32
}
