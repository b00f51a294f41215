//! Looking things up in a graph and adding to it. Callers: the rewrites, and tools that change graphs.

use crate::{
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
        attribute_proto::AttributeType,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension::Value as DimValue},
        type_proto,
    },
    tensor,
};

/// The attribute of this name.
#[must_use]
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name() == name)
}

/// The integer attribute of this name.
#[must_use]
pub fn int_attribute(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(AttributeProto::i)
}

/// A constant by its name: an initialiser, or the value of a `Constant` node.
#[must_use]
pub fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let from_node = || {
        let node = graph.node.iter().find(|n| n.op_type() == "Constant" && n.output.iter().any(|o| o == name))?;
        attribute(node, "value")?.t.as_ref()
    };
    graph.initializer.iter().find(|t| t.name() == name).or_else(from_node)
}

/// The elements of a constant of type `i64`.
#[must_use]
pub fn constant_ints(graph: &GraphProto, name: &str) -> Option<Vec<i64>> {
    constant(graph, name).and_then(|t| tensor::i64_data(t).ok())
}

/// A value name that the graph does not use yet.
#[must_use]
pub fn fresh_name(graph: &GraphProto, base: &str) -> String {
    let taken = |n: &str| {
        graph.initializer.iter().any(|t| t.name() == n)
            || graph.node.iter().flat_map(|x| x.input.iter().chain(&x.output)).any(|v| v == n)
    };
    let mut name = base.to_owned();
    while taken(&name) {
        name.push('_');
    }
    name
}

/// Drops the named constants that nothing reads any more; ONNX Runtime warns about each such leftover.
pub fn drop_unread(graph: &mut GraphProto, names: &[String]) {
    for name in names {
        let read = graph.node.iter().flat_map(|n| &n.input).any(|i| i == name)
            || graph.output.iter().any(|o| o.name() == name);
        if !read {
            graph.initializer.retain(|t| t.name() != name);
            graph.node.retain(|n| n.op_type() != "Constant" || n.output.first() != Some(name));
        }
    }
}

/// The elements of a constant of type `f32`; `None` where there is no such constant or it is damaged.
#[must_use]
pub fn constant_floats(graph: &GraphProto, name: &str) -> Option<Vec<f32>> {
    constant(graph, name).and_then(|t| tensor::f32_data(t).ok())
}

/// The node that makes a value.
#[must_use]
pub fn producer<'a>(graph: &'a GraphProto, value: &str) -> Option<&'a NodeProto> {
    graph.node.iter().find(|n| !value.is_empty() && n.output.iter().any(|o| o == value))
}

/// How often a value is read, by nodes or as an output of the graph.
#[must_use]
pub fn uses(graph: &GraphProto, value: &str) -> usize {
    let by_nodes = graph.node.iter().flat_map(|n| &n.input).filter(|i| *i == value).count();
    by_nodes + graph.output.iter().filter(|o| o.name() == value).count()
}

/// The one node that reads a value which nothing else reads.
#[must_use]
pub fn only_reader<'a>(graph: &'a GraphProto, value: &str) -> Option<&'a NodeProto> {
    let reader = graph.node.iter().find(|n| n.input.iter().any(|i| i == value))?;
    (uses(graph, value) == 1).then_some(reader)
}

/// Version of the standard operator set; 0 where the model names none.
#[must_use]
pub fn operator_set(model: &ModelProto) -> i64 {
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    model.opset_import.iter().find(|o| standard(o.domain())).map_or(0, |o| o.version())
}

/// A node of one output, named after it: names of nodes have to differ.
#[must_use]
pub fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op}_{output}")),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

/// An attribute that holds one integer.
#[must_use]
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(AttributeType::Int.into()),
        ..Default::default()
    }
}

/// An attribute that holds one float.
#[must_use]
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        f: Some(value),
        r#type: Some(AttributeType::Float.into()),
        ..Default::default()
    }
}

/// An input or output of type `f32`: the batch under this name, then axes of fixed sizes.
#[must_use]
pub fn f32_value(name: &str, batch: &str, item: &[i64]) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value), ..Default::default() };
    let batch = dim(DimValue::DimParam(batch.into()));
    let axes = std::iter::once(batch).chain(item.iter().map(|n| dim(DimValue::DimValue(*n)))).collect();
    let shape = TensorShapeProto { dim: axes };
    let tensor = type_proto::Tensor { elem_type: Some(DataType::Float.into()), shape: Some(shape) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(kind), ..Default::default() }
}

/// An attribute that holds a list of integers.
#[must_use]
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(AttributeType::Ints.into()),
        ..Default::default()
    }
}

/// Drops every initialiser that neither a node nor the graph's outputs read.
pub fn drop_unread_initialisers(graph: &mut GraphProto) {
    let read: std::collections::HashSet<String> = graph
        .node
        .iter()
        .flat_map(|n| n.input.iter().cloned())
        .chain(graph.output.iter().map(|o| o.name().into()))
        .collect();
    graph.initializer.retain(|t| read.contains(t.name()));
}
