//! Graphs made on the spot, pictures to feed them, and an engine for both.

use inference::{Engine as _, Expected, InferenceError, OnnxRuntime, OrtEngine, SessionOptions, TensorRef};
use models::{Cache, Catalogue, Pip, Silent, fetch};
use onnx::{
    graph::{int, ints, node},
    proto::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
        ValueInfoProto, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value, type_proto,
    },
    tensor::f32_tensor,
};
use visavis_compress::{CompressError, Quantiser};

/// Side of the pictures.
pub const SIDE: usize = 12;

/// Channels of the pictures; enough for their first convolution to be quantised.
pub const CHANNELS: usize = 8;

pub fn runtime() -> OnnxRuntime {
    let library = Catalogue::built_in().unwrap().runtime().artefact().unwrap();
    let cache = Cache::open(testkit::cache_dir()).unwrap();
    fetch(&cache, std::slice::from_ref(&library), &Pip::default(), &Silent).unwrap();
    OnnxRuntime::load(&cache.path_of(&library)).unwrap()
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
}

/// From `x` of [1, CHANNELS, SIDE, SIDE] to `y` of these dimensions.
pub fn model(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, output: &[i64], opset: i64) -> Vec<u8> {
    let graph = GraphProto {
        name: Some("g".into()),
        node: nodes,
        initializer: constants,
        input: vec![value("x", &[1, CHANNELS as i64, SIDE as i64, SIDE as i64])],
        output: vec![value("y", output)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(opset), ..Default::default() };
    let model = ModelProto { ir_version: Some(6), opset_import: vec![opset], graph: Some(graph), ..Default::default() };
    onnx::encode(&model)
}

/// Numbers between -1 and 1 that differ and repeat from run to run.
pub fn numbers(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 1.7 + seed).sin()).collect()
}

pub fn conv(x: &str, y: &str, [rows, channels, kernel]: [i64; 3], group: i64) -> (NodeProto, [TensorProto; 2]) {
    let [w, b] = ["w", "b"].map(|part| format!("{y}_{part}"));
    let mut n = node("Conv", &[x, &w, &b], y);
    let pad = kernel / 2;
    n.attribute = vec![ints("kernel_shape", &[kernel, kernel]), ints("pads", &[pad; 4]), int("group", group)];
    let len = usize::try_from(rows * channels * kernel * kernel).unwrap();
    let weights = f32_tensor(&w, &[rows, channels, kernel, kernel], &numbers(len, rows as f32));
    (n, [weights, f32_tensor(&b, &[rows], &numbers(usize::try_from(rows).unwrap(), 0.5))])
}

pub fn engine(onnx: &[u8]) -> Result<OrtEngine, InferenceError> {
    let expected = Expected { model: "g".into(), item_shape: vec![CHANNELS, SIDE, SIDE], ..Expected::default() };
    OrtEngine::load(&runtime(), onnx, &SessionOptions::default(), &expected)
}

/// Picture `i`, different from the others, those from 0 to 3 in strength too.
pub fn picture(i: usize) -> Vec<f32> {
    let gain = 1.0 + 0.25 * (i % 4) as f32;
    numbers(CHANNELS * SIDE * SIDE, i as f32 * 0.37).into_iter().map(|v| gain * v).collect()
}

pub const SHAPE: [usize; 4] = [1, CHANNELS, SIDE, SIDE];

/// Why a quantisation in a test ended.
#[derive(Debug)]
#[expect(dead_code, reason = "shown when a test fails")]
pub enum Failed {
    Compress(CompressError),
    Run(InferenceError),
}

impl From<CompressError> for Failed {
    fn from(e: CompressError) -> Self {
        Self::Compress(e)
    }
}

/// Quantised with ranges from so many pictures.
pub fn quantised(onnx: &[u8], pictures: usize) -> Result<Vec<u8>, Failed> {
    let quantiser = Quantiser::new(onnx)?;
    let mut engine = engine(&quantiser.observed()).map_err(Failed::Run)?;
    let ranges = quantiser.calibrate(pictures, |i, observe| {
        let data = picture(i);
        let run = engine.infer(TensorRef { shape: &SHAPE, data: &data }, &mut |outputs| {
            outputs.iter().for_each(|o| observe(o.name, o.shape, o.data));
        });
        run.map(drop).map_err(Failed::Run)
    })?;
    Ok(quantiser.quantise(&ranges)?)
}

/// Output of a graph for picture `i`.
pub fn output(engine: &mut OrtEngine, i: usize) -> Vec<f32> {
    let (data, mut out) = (picture(i), Vec::new());
    engine.infer(TensorRef { shape: &SHAPE, data: &data }, &mut |o| out = o[0].data.to_vec()).unwrap();
    out
}

/// Nodes of a graph by operator.
pub fn count(onnx: &[u8], op: &str) -> usize {
    onnx::decode(onnx).unwrap().graph.unwrap().node.iter().filter(|n| n.op_type() == op).count()
}
