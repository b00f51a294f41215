//! Brings a shipped graph to the form that is quantised: symbolic batch, batch norms folded, heads joined, and an
//! operator set that knows 8-bit weights with a scale per channel. Called by the quantiser.

use onnx::{
    ModelProto,
    graph::{attribute, fresh_name, operator_set},
    proto::{GraphProto, OperatorSetIdProto},
    rewrite,
    tensor::i64_tensor,
};

use crate::CompressError;

/// First operator set whose DequantizeLinear takes a scale per channel.
const PER_CHANNEL: i64 = 13;

/// First operator set this reads: before it, several operators had their parameters elsewhere.
const OLDEST: i64 = 11;

/// Operators that mean the same in every set from [`OLDEST`] to [`PER_CHANNEL`].
const UNCHANGED: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Flatten",
    "Gather",
    "Gemm",
    "GlobalAveragePool",
    "Identity",
    "LeakyRelu",
    "MatMul",
    "MaxPool",
    "Mul",
    "PRelu",
    "Relu",
    "Reshape",
    "Resize",
    "Shape",
    "Sigmoid",
    "Slice",
    "Sub",
    "Tanh",
    "Transpose",
];

/// The float graph that is quantised.
pub(crate) fn prepare(onnx: &[u8]) -> Result<ModelProto, CompressError> {
    let mut model = onnx::decode(onnx)?;
    let graph = model.graph.get_or_insert_default();
    if let Some(n) = graph.node.iter().find(|n| n.op_type().contains("Quantize") || n.op_type().starts_with("QLinear"))
    {
        return Err(CompressError::Already(n.op_type().into()));
    }
    rewrite::for_serving(&mut model)?;
    rewrite::fold_batch_norm(&mut model)?;
    raise_operator_set(&mut model)?;
    rewrite::join_heads(&mut model)?;
    Ok(model)
}

fn raise_operator_set(model: &mut ModelProto) -> Result<(), CompressError> {
    let from = operator_set(model);
    if from >= PER_CHANNEL {
        return Ok(());
    }
    let refused = |op: &str| CompressError::OperatorSet { op: op.into(), from, to: PER_CHANNEL };
    if from < OLDEST {
        return Err(refused(""));
    }
    let Some(graph) = &mut model.graph else { return Ok(()) };
    for i in 0..graph.node.len() {
        let op = graph.node[i].op_type().to_owned();
        match op.as_str() {
            "Squeeze" | "Unsqueeze" => axes_become_an_input(graph, i),
            op if UNCHANGED.contains(&op) => {}
            op => return Err(refused(op)),
        }
    }
    model.opset_import.retain(|o| !o.domain().is_empty() && o.domain() != "ai.onnx");
    model.opset_import.insert(0, OperatorSetIdProto { version: Some(PER_CHANNEL), ..Default::default() });
    // The version of the format that came with it.
    model.ir_version = Some(model.ir_version().max(7));
    Ok(())
}

/// From set 13 on these two read their axes from a constant.
fn axes_become_an_input(graph: &mut GraphProto, i: usize) {
    let Some(axes) = attribute(&graph.node[i], "axes").map(|a| a.ints.clone()) else { return };
    let output = graph.node[i].output.first().map_or("", String::as_str);
    let name = fresh_name(graph, &format!("{output}/axes"));
    graph.initializer.push(i64_tensor(&name, &[i64::try_from(axes.len()).unwrap_or(0)], &axes));
    graph.node[i].attribute.retain(|a| a.name() != "axes");
    graph.node[i].input.push(name);
}
