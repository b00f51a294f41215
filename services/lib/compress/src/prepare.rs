//! Brings a shipped graph to the form that is quantised: symbolic batch, batch norms folded, heads joined, and an
//! operator set that knows 8-bit weights with a scale per channel. Called by the quantiser.

use onnx::{
    ModelProto,
    graph::operator_set,
    proto::{GraphProto, OperatorSetIdProto},
    rewrite,
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
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Flatten",
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
    "Sigmoid",
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
    let unknown = |g: &GraphProto| g.node.iter().map(|n| n.op_type().to_owned()).find(|op| !UNCHANGED.contains(&&**op));
    if let Some(op) = model.graph.as_ref().and_then(unknown) {
        return Err(refused(&op));
    }
    model.opset_import.retain(|o| !o.domain().is_empty() && o.domain() != "ai.onnx");
    model.opset_import.insert(0, OperatorSetIdProto { version: Some(PER_CHANNEL), ..Default::default() });
    // The version of the format that came with it.
    model.ir_version = Some(model.ir_version().max(7));
    Ok(())
}
