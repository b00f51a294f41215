//! Which graphs get a symbolic batch, and which are refused. That results stay the same is tested with the engine, in
//! the inference crate.

use proptest::prelude::*;
use visavis_onnx::{
    Dim, OnnxError, decode, encode, inputs, outputs,
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
        attribute_proto::AttributeType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value,
        type_proto,
    },
    rewrite,
    tensor::{f32_tensor, i64_tensor},
};

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[i64])]) -> NodeProto {
    let attribute = |(name, ints): &(&str, &[i64])| {
        let single = matches!(*name, "axis" | "transA" | "allowzero");
        let r#type = if single { AttributeType::Int } else { AttributeType::Ints };
        AttributeProto {
            name: Some((*name).into()),
            i: single.then(|| ints[0]),
            ints: if single { vec![] } else { ints.to_vec() },
            r#type: Some(r#type.into()),
            ..Default::default()
        }
    };
    NodeProto {
        op_type: Some(op.into()),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output.into()],
        attribute: attributes.iter().map(attribute).collect(),
        ..Default::default()
    }
}

fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        input: vec![value("x", &[1, 3, 4, 4])],
        output: vec![value("y", &[1, 48])],
        value_info: vec![value("inner", &[1, 48])],
        initializer: constants,
        ..Default::default()
    };
    ModelProto { ir_version: Some(3), graph: Some(graph), ..Default::default() }
}

fn symbolic(name: &str) -> Dim {
    Dim::Symbolic(name.into())
}

#[test]
fn weights_listed_as_inputs_leave_them() {
    let mut m = model(vec![node("Mul", &["x", "w"], "y", &[])], vec![f32_tensor("w", &[1], &[2.0])]);
    m.graph.as_mut().unwrap().input.push(value("w", &[1]));
    assert_eq!(inputs(&m).len(), 1, "an initialiser is nothing to feed");
    rewrite::initialisers_leave_inputs(&mut m);
    assert_eq!(m.graph.as_ref().unwrap().input.len(), 1);
    assert_eq!(m.ir_version(), 4, "before version 4 every initialiser had to be an input");
}

#[test]
fn interface_and_baked_in_shapes_become_symbolic() {
    let nodes = vec![node("Relu", &["x"], "inner", &[]), node("Reshape", &["inner", "shape"], "y", &[])];
    let mut m = model(nodes, vec![i64_tensor("shape", &[2], &[1, -1])]);
    rewrite::for_serving(&mut m).unwrap();
    assert_eq!(inputs(&m)[0].dims, [symbolic("N"), Dim::Fixed(3), Dim::Fixed(4), Dim::Fixed(4)]);
    assert_eq!(outputs(&m)[0].dims, [symbolic("N"), Dim::Fixed(48)]);
    let graph = m.graph.as_ref().unwrap();
    assert!(graph.value_info.is_empty(), "stale shapes are gone");
    let target = graph.node[1].input[1].clone();
    assert_eq!(graph.initializer.len(), 1, "the old target is gone");
    assert_eq!(graph.initializer[0], i64_tensor(&target, &[2], &[0, -1]));
    let once = m.clone();
    rewrite::for_serving(&mut m).unwrap();
    assert_eq!(m, once, "a second time changes nothing");
}

#[test]
fn a_shape_constant_that_somebody_else_reads_stays_for_them() {
    let nodes = vec![node("Reshape", &["x", "shape"], "y", &[]), node("Reshape", &["w", "shape"], "unrelated", &[])];
    let mut m = model(nodes, vec![i64_tensor("shape", &[2], &[1, -1]), f32_tensor("w", &[2], &[1.0, 2.0])]);
    rewrite::symbolic_batch(&mut m).unwrap();
    let graph = m.graph.unwrap();
    assert_eq!((graph.node[0].input[1].as_str() == "shape", graph.node[1].input[1].as_str()), (false, "shape"));
    assert_eq!(graph.initializer.len(), 3);
}

#[test]
fn graphs_that_mix_the_batch_with_something_are_refused_by_name() {
    let refused: [(NodeProto, &str); 11] = [
        (node("Transpose", &["x"], "y", &[("perm", &[1, 0, 2, 3])]), "moves the batch"),
        (node("Transpose", &["x"], "y", &[]), "moves the batch"),
        (node("Flatten", &["x"], "y", &[("axis", &[0])]), "along the batch"),
        (node("Softmax", &["x"], "y", &[("axis", &[0])]), "along the batch"),
        (node("Gather", &["x", "c"], "y", &[]), "along the batch"),
        (node("Concat", &["x", "x"], "y", &[("axis", &[0])]), "along the batch"),
        (node("Squeeze", &["x"], "y", &[]), "moves the batch"),
        (node("ReduceMean", &["x"], "y", &[]), "over the batch"),
        (node("ReduceSum", &["x"], "y", &[("axes", &[0, 1])]), "over the batch"),
        (node("Reshape", &["x", "c"], "y", &[]), "batch of its own"),
        (node("If", &["x"], "y", &[]), "graph inside"),
    ];
    for (n, why) in refused {
        let op = n.op_type().to_owned();
        let mut m = model(vec![n], vec![i64_tensor("c", &[2], &[2, 24])]);
        let e = rewrite::symbolic_batch(&mut m).unwrap_err();
        assert!(matches!(&e, OnnxError::FixedBatch { op: o, .. } if *o == op), "{e}");
        assert!(e.to_string().contains(why), "{e}");
    }
    // The same operators are fine where they do not touch the batch, or work on constants.
    let fine = [
        node("Transpose", &["x"], "y", &[("perm", &[0, 2, 3, 1])]),
        node("Flatten", &["x"], "y", &[]),
        node("ReduceMean", &["x"], "y", &[("axes", &[2, 3])]),
        node("Squeeze", &["x"], "y", &[("axes", &[2])]),
        node("Transpose", &["c"], "y", &[]),
    ];
    for n in fine {
        let mut m = model(vec![n], vec![i64_tensor("c", &[2], &[2, 24])]);
        rewrite::symbolic_batch(&mut m).unwrap();
    }
}

#[test]
fn only_a_graph_of_size_free_operators_gets_a_symbolic_size() {
    let mut m = model(vec![node("Relu", &["x"], "y", &[])], vec![]);
    m.graph.as_mut().unwrap().output = vec![value("y", &[1, 3, 4, 4])];
    assert!(rewrite::symbolic_size(&mut m));
    assert_eq!(inputs(&m)[0].dims[2..], [symbolic("H"), symbolic("W")]);
    assert_eq!(outputs(&m)[0].dims[2..], [symbolic(""), symbolic("")]);
    let mut embedder = model(vec![node("Flatten", &["x"], "y", &[])], vec![]);
    let before = embedder.clone();
    assert!(!rewrite::symbolic_size(&mut embedder));
    assert_eq!(embedder, before);
}

#[test]
fn a_circle_of_nodes_ends() {
    let circle = vec![
        node("Reshape", &["x", "c"], "a", &[]),
        node("Sigmoid", &["y"], "a", &[]),
        node("Sigmoid", &["a"], "y", &[]),
    ];
    let mut m = model(circle, vec![i64_tensor("c", &[2], &[-1, 3])]);
    rewrite::for_serving(&mut m).unwrap();
    let mut m = model(vec![node("Identity", &["y"], "y", &[])], vec![]);
    rewrite::for_serving(&mut m).unwrap();
}

proptest! {
    /// Any graph of these parts is rewritten or refused, never a panic, and what comes out reads back the same.
    #[test]
    fn rewrites_never_panic(parts in proptest::collection::vec((0usize..9, 0usize..4, -2i64..3), 0..8)) {
        let ops = ["Reshape", "Transpose", "PRelu", "Sigmoid", "Resize", "Squeeze", "Gather", "Constant", ""];
        let names = ["x", "y", "c", "s"];
        let nodes = parts.iter().map(|(op, v, k)| {
            let mut n = node(ops[*op], &[names[*v], names[(*v + 1) % 4], names[(*v + 2) % 4]], names[(*v + 3) % 4], &[("perm", &[*k])]);
            n.input.truncate(usize::try_from(k.unsigned_abs()).unwrap() + 1);
            n
        }).collect();
        let mut m = model(nodes, vec![i64_tensor("c", &[2], &[-1, 3]), f32_tensor("s", &[3, 1, 1], &[0.0; 3])]);
        let _ = rewrite::for_serving(&mut m);
        let _ = rewrite::for_cpu(&mut m);
        prop_assert_eq!(decode(&encode(&m)), Ok(m));
    }
}
