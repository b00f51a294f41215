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

use crate::common::{difference, pictures, runtime, single};

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

/// Weights that differ, reproducible, between -1 and 1.
fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.7 + 0.3).sin()).collect()
}

fn float(mut node: NodeProto, name: &str, value: f32) -> NodeProto {
    let (name, f) = (Some(name.into()), Some(value));
    node.attribute.push(AttributeProto { name, f, r#type: Some(AttributeType::Float.into()), ..Default::default() });
    node
}

fn int(mut node: NodeProto, name: &str, value: i64) -> NodeProto {
    let (name, i) = (Some(name.into()), Some(value));
    node.attribute.push(AttributeProto { name, i, r#type: Some(AttributeType::Int.into()), ..Default::default() });
    node
}

/// Statistics of a batch normalisation over `n` channels, under these names.
fn statistics(prefix: &str, n: usize) -> Vec<TensorProto> {
    let of = |part: &str, values: Vec<f32>| tensor::f32_tensor(&format!("{prefix}_{part}"), &[n as i64], &values);
    let positive = weights(n).iter().map(|w| w.abs() + 0.5).collect();
    vec![
        of("gamma", weights(n + 1)[1..].to_vec()),
        of("beta", weights(n)),
        of("mean", weights(n + 2)[2..].to_vec()),
        of("var", positive),
    ]
}

fn norm(prefix: &str, x: &str, y: &str) -> NodeProto {
    let [gamma, beta, mean, var] = ["gamma", "beta", "mean", "var"].map(|p| format!("{prefix}_{p}"));
    float(node("BatchNormalization", &[x, &gamma, &beta, &mean, &var], y), "epsilon", 1e-3)
}

/// Runs both on one picture of 4×4 and compares; the rewritten one must have none of these operators.
fn same_without(shipped: &ModelProto, gone: &[&str]) -> ModelProto {
    let mut served = shipped.clone();
    onnx::rewrite::for_serving(&mut served).unwrap();
    onnx::rewrite::for_cpu(&mut served).unwrap();
    let left: Vec<&str> = served.graph.as_ref().unwrap().node.iter().map(|n| n.op_type()).collect();
    assert!(!left.iter().any(|op| gone.contains(op)), "{left:?}");
    let x = pictures(1, 4);
    let [a, b] = [shipped, &served].map(|m| load(m, &[3, 4, 4]).unwrap().run(&x).unwrap());
    for ((name, a), (_, b)) in a.iter().zip(b.iter()) {
        let off = difference(a.data(), b.data());
        assert!(off < 1e-5, "{name}: {off}");
    }
    served
}

#[test]
fn batch_norms_fold_into_the_convolution_before_and_the_product_behind() {
    let nodes = vec![
        ints(node("Conv", &["x", "w"], "c"), "kernel_shape", &[1, 1]),
        norm("n1", "c", "b"),
        node("PRelu", &["b", "a"], "p"),
        norm("n2", "p", "q"),
        float(node("Dropout", &["q"], "d"), "ratio", 0.4),
        node("Flatten", &["d"], "f"),
        int(node("Gemm", &["f", "g"], "h"), "transB", 1),
        norm("n3", "h", "y"),
    ];
    let mut constants = vec![
        tensor::f32_tensor("w", &[5, 3, 1, 1], &weights(15)),
        tensor::f32_tensor("a", &[5, 1, 1], &[0.25, -0.5, 0.9, 0.0, 0.1]),
        tensor::f32_tensor("g", &[2, 80], &weights(160)),
    ];
    for (prefix, n) in [("n1", 5), ("n2", 5), ("n3", 2)] {
        constants.extend(statistics(prefix, n));
    }
    let served =
        same_without(&graph(nodes, constants, &[1, 3, 4, 4], &[1, 2]), &["BatchNormalization", "PRelu", "Dropout"]);
    let muls = served.graph.unwrap().node.iter().filter(|n| n.op_type() == "Mul").count();
    assert_eq!(muls, 1, "the convolution took the other factor of the activation");
}

#[test]
fn a_convolution_whose_output_others_read_keeps_its_weights() {
    let nodes = vec![
        ints(node("Conv", &["x", "w", "b"], "c"), "kernel_shape", &[1, 1]),
        node("PRelu", &["c", "a"], "p"),
        node("Add", &["c", "p"], "s"),
        ints(node("Conv", &["s", "w", "b"], "t"), "kernel_shape", &[1, 1]),
        norm("n1", "t", "u"),
        node("Add", &["u", "t"], "y"),
    ];
    let mut constants = vec![
        tensor::f32_tensor("w", &[3, 3, 1, 1], &weights(9)),
        tensor::f32_tensor("b", &[3], &weights(3)),
        tensor::f32_tensor("a", &[3, 1, 1], &[0.25, -0.5, 1.5]),
    ];
    constants.extend(statistics("n1", 3));
    let served = same_without(&graph(nodes, constants, &[1, 3, 4, 4], &[1, 3, 4, 4]), &["PRelu"]);
    let left = served.graph.unwrap();
    assert!(left.node.iter().any(|n| n.op_type() == "BatchNormalization"), "its input is read twice");
    assert!(left.initializer.iter().any(|t| t.name() == "w"));
}

#[test]
fn heads_on_the_same_features_are_joined_and_split_again() {
    let mut nodes = Vec::new();
    let mut constants = Vec::new();
    for (i, k) in [1i64, 4, 10].into_iter().enumerate() {
        let n = |part: &str| format!("{part}{i}");
        let len = usize::try_from(k).unwrap();
        constants.push(tensor::f32_tensor(&n("w"), &[k, 3, 1, 1], &weights(3 * len)));
        constants.push(tensor::f32_tensor(&n("v"), &[k, 1, 3, 3], &weights(9 * len)));
        constants.push(tensor::f32_tensor(&n("b"), &[k], &weights(len)));
        constants.push(tensor::i64_tensor(&n("target"), &[3], &[1, -1, k]));
        nodes.push(ints(node("Conv", &["x", &n("w"), &n("b")], &n("c")), "kernel_shape", &[1, 1]));
        let deep = ints(node("Conv", &[&n("c"), &n("v")], &n("d")), "kernel_shape", &[3, 3]);
        nodes.push(int(ints(deep, "pads", &[1; 4]), "group", k));
        nodes.push(ints(node("Transpose", &[&n("d")], &n("t")), "perm", &[0, 2, 3, 1]));
        nodes.push(node("Reshape", &[&n("t"), &n("target")], &n("r")));
        nodes.push(node("Sigmoid", &[&n("r")], &n("y")));
    }
    let mut model = graph(nodes, constants, &[1, 3, 4, 4], &[1, 16, 1]);
    model.graph.as_mut().unwrap().output =
        vec![value("y0", &[1, 16, 1]), value("y1", &[1, 16, 4]), value("y2", &[1, 16, 10])];
    let served = same_without(&model, &[]);
    let convolutions = served.graph.unwrap().node.iter().filter(|n| n.op_type() == "Conv").count();
    assert_eq!(convolutions, 2, "six became two");
}

#[test]
fn an_input_that_takes_no_pictures_is_refused() {
    let flat = graph(vec![node("Relu", &["x"], "y")], vec![], &[1, 12], &[1, 12]);
    assert!(matches!(load(&flat, &[3, 2, 2]), Err(InferenceError::ManifestMismatch { .. })));
    let t = Tensor::new([1, 12], vec![-1.0; 12]).unwrap();
    assert_eq!(load(&flat, &[12]).unwrap().run(&t).unwrap().first().unwrap().data(), [0.0; 12]);
}
