//! Small graphs made on the spot, for forms of export that the pinned models do not have.

use onnx::{
    proto::{
        AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_shape_proto::Dimension,
        tensor_shape_proto::dimension::Value, type_proto,
    },
    tensor,
};
use visavis_inference::{Engine as _, Expected, InferenceError, OrtEngine, SessionOptions, Tensor};

use crate::common::{pictures, runtime, single};

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{op}_{output}")),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn ints(mut node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    let (name, ints) = (Some(name.into()), ints.to_vec());
    node.attribute.push(AttributeProto { name, ints, r#type: Some(AttributeType::Ints.into()), ..Default::default() });
    node
}

fn graph(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, input: &[i64], output: &[i64]) -> ModelProto {
    let graph = GraphProto {
        name: Some("g".into()),
        node: nodes,
        initializer: constants,
        input: vec![value("x", input)],
        output: vec![value("y", output)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(11), ..Default::default() };
    ModelProto { ir_version: Some(6), opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

fn load(model: &ModelProto, item_shape: &[usize]) -> Result<OrtEngine, InferenceError> {
    let expected = Expected { model: "g".into(), item_shape: item_shape.to_vec(), ..Expected::default() };
    OrtEngine::load(&runtime(), &onnx::encode(model), &SessionOptions::default(), &expected)
}

#[test]
fn a_detector_head_that_forgot_its_batch_gets_one() {
    let nodes = vec![
        ints(node("Transpose", &["x"], "t"), "perm", &[0, 2, 3, 1]),
        node("Reshape", &["t", "target"], "r"),
        node("Sigmoid", &["r"], "y"),
    ];
    let shipped = graph(nodes, vec![tensor::i64_tensor("target", &[2], &[-1, 3])], &[1, 3, 2, 2], &[4, 3]);
    let mut served = shipped.clone();
    onnx::rewrite::for_serving(&mut served).unwrap();
    let mut engine = load(&served, &[3, 2, 2]).unwrap();
    let batch = pictures(2, 2);
    let together = engine.run(&batch).unwrap();
    assert_eq!(together.first().unwrap().shape(), [2, 4, 3]);
    for i in 0..2 {
        let alone = engine.run(&single(&batch, i)).unwrap();
        assert_eq!(alone.first().unwrap().data(), together.first().unwrap().item(i).unwrap());
    }
    // As shipped, a run would mix the anchors of different pictures: that is noticed, not passed on.
    let mut shipped = load(&shipped, &[3, 2, 2]).unwrap();
    assert_eq!(shipped.max_batch(), 1);
    assert!(matches!(shipped.run(&single(&batch, 0)), Err(InferenceError::Run(_))));
}

#[test]
fn prelu_per_channel_is_rewritten_and_one_slope_for_all_is_left_alone() {
    for (dims, slope, rewritten) in [(vec![3, 1, 1], vec![0.25, -0.5, 2.0], true), (vec![1], vec![0.1], false)] {
        let nodes = vec![node("Sub", &["x", "c"], "s"), node("PRelu", &["s", "a"], "y")];
        let constants = vec![tensor::f32_tensor("a", &dims, &slope), tensor::f32_tensor("c", &[1], &[100.0])];
        let shipped = graph(nodes, constants, &[1, 3, 2, 2], &[1, 3, 2, 2]);
        let mut served = shipped.clone();
        onnx::rewrite::for_serving(&mut served).unwrap();
        onnx::rewrite::for_cpu(&mut served).unwrap();
        let nodes = &served.graph.as_ref().unwrap().node;
        assert_eq!(nodes.iter().all(|n| n.op_type() != "PRelu"), rewritten);
        let x = pictures(1, 2);
        let wanted: Vec<f32> = x
            .data()
            .iter()
            .enumerate()
            .map(|(i, v)| {
                let (v, a) = (v - 100.0, slope[(i / 4) % slope.len()]);
                if v < 0.0 { a * v } else { v }
            })
            .collect();
        for model in [&shipped, &served] {
            let y = load(model, &[3, 2, 2]).unwrap().run(&x).unwrap();
            let off = y.first().unwrap().data().iter().zip(&wanted).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(off < 1e-3, "{off}");
        }
    }
}

#[test]
fn an_input_that_takes_no_pictures_is_refused() {
    let flat = graph(vec![node("Relu", &["x"], "y")], vec![], &[1, 12], &[1, 12]);
    assert!(matches!(load(&flat, &[3, 2, 2]), Err(InferenceError::ManifestMismatch { .. })));
    let t = Tensor::new([1, 12], vec![-1.0; 12]).unwrap();
    assert_eq!(load(&flat, &[12]).unwrap().run(&t).unwrap().first().unwrap().data(), [0.0; 12]);
}
