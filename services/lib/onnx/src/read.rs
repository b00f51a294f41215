//! From bytes to a model and back. Reading refuses what writing would lose.

use prost::Message as _;

use crate::{OnnxError, proto::ModelProto, unknown};

/// Reads a model from the bytes of an `.onnx` file.
///
/// # Errors
/// Bytes that are no ONNX model, a field unknown to this build, weights that lie in other files.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, OnnxError> {
    let model = ModelProto::decode(bytes).map_err(|e| OnnxError::NotOnnx(e.to_string()))?;
    unknown::refuse_unknown_fields(bytes)?;
    let Some(graph) = &model.graph else { return Err(OnnxError::NotOnnx("it has no graph".into())) };
    if let Some(t) =
        graph.initializer.iter().find(|t| t.data_location() == crate::proto::tensor_proto::DataLocation::External)
    {
        return Err(OnnxError::ExternalData(t.name().into()));
    }
    Ok(model)
}

/// Bytes of an `.onnx` file. Fields come in the order of their numbers, as the reference encoder writes them.
#[must_use]
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}
