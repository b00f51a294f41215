//! Inputs and outputs of a graph, as a caller has to feed and read them. Callers: models, rewrites, tests.

use crate::proto::{
    GraphProto, ModelProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto::dimension::Value as DimValue,
    type_proto,
};

/// One axis of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Always this size.
    Fixed(i64),
    /// Known at run time only; the name may be empty.
    Symbolic(String),
}

/// Name, element type and shape of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSpec {
    /// The name to feed or read it by.
    pub name: String,
    /// ONNX element type; 1 is `f32`.
    pub elem_type: i32,
    /// Axes; empty for a scalar or a value without a declared shape.
    pub dims: Vec<Dim>,
}

/// What a caller has to feed: graph inputs that are not initialisers.
#[must_use]
pub fn inputs(model: &ModelProto) -> Vec<ValueSpec> {
    let Some(graph) = &model.graph else { return Vec::new() };
    graph.input.iter().filter(|v| !is_initialiser(graph, v.name())).map(spec).collect()
}

/// What a run gives back.
#[must_use]
pub fn outputs(model: &ModelProto) -> Vec<ValueSpec> {
    model.graph.iter().flat_map(|g| &g.output).map(spec).collect()
}

pub(crate) fn is_initialiser(graph: &GraphProto, name: &str) -> bool {
    graph.initializer.iter().any(|t| t.name() == name)
}

pub(crate) fn shape_mut(value: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    match value.r#type.as_mut()?.value.as_mut()? {
        type_proto::Value::TensorType(t) => t.shape.as_mut(),
        _ => None,
    }
}

fn spec(value: &ValueInfoProto) -> ValueSpec {
    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(t)) => Some(t),
        _ => None,
    };
    let dims = tensor.and_then(|t| t.shape.as_ref()).map_or(&[][..], |s| &s.dim);
    let dim = |d: &Option<DimValue>| match d {
        Some(DimValue::DimValue(n)) => Dim::Fixed(*n),
        Some(DimValue::DimParam(p)) => Dim::Symbolic(p.clone()),
        None => Dim::Symbolic(String::new()),
    };
    ValueSpec {
        name: value.name().into(),
        elem_type: tensor.map_or(0, |t| t.elem_type()),
        dims: dims.iter().map(|d| dim(&d.value)).collect(),
    }
}
