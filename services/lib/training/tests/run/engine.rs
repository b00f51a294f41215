//! The same with the real engine: a small convolutional network with all that a run has to keep: weights, norms with
//! statistics, slopes, Dropout.

use std::fs;
use std::path::Path;

use onnx::{
    ModelProto,
    graph::{f32_value, int, ints, node},
    proto::{GraphProto, OperatorSetIdProto},
    tensor::f32_tensor,
};
use visavis_training::{Outcome, train};
use vision::Random;

use super::{Heard, people, recipe};

const CHANNELS: usize = 6;
const CELLS: usize = 14 * 14;
const DIM: usize = 12;

fn model() -> ModelProto {
    let random = |name: &str, dims: &[i64], inputs: f32| {
        let mut random = Random::of(&[name.len() as u64, 9]);
        let count: i64 = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|_| random.normals()[0] / inputs.sqrt()).collect();
        f32_tensor(name, dims, &values)
    };
    let all = |name: &str, value: f32| f32_tensor(name, &[CHANNELS as i64], &[value; CHANNELS]);
    let (c, cells, dim) = (CHANNELS as i64, CELLS as i64, DIM as i64);
    let mut conv = node("Conv", &["x", "conv.weight"], "conv");
    conv.attribute = vec![ints("kernel_shape", &[8, 8]), ints("strides", &[8, 8])];
    let mut gemm = node("Gemm", &["dropped", "fc.weight"], "e");
    gemm.attribute = vec![int("transB", 1)];
    let graph = GraphProto {
        node: vec![
            conv,
            node("BatchNormalization", &["conv", "bn.scale", "bn.bias", "bn.mean", "bn.var"], "bn"),
            node("PRelu", &["bn", "slope"], "active"),
            node("Flatten", &["active"], "flat"),
            node("Dropout", &["flat", "ratio"], "dropped"),
            gemm,
        ],
        initializer: vec![
            random("conv.weight", &[c, 3, 8, 8], 3.0 * 64.0),
            all("bn.scale", 1.0),
            all("bn.bias", 0.0),
            all("bn.mean", 0.0),
            all("bn.var", 1.0),
            f32_tensor("slope", &[c, 1, 1], &[0.25; CHANNELS]),
            f32_tensor("ratio", &[], &[0.9]),
            random("fc.weight", &[dim, c * cells], (c * cells) as f32),
        ],
        input: vec![f32_value("x", "N", &[3, 112, 112])],
        output: vec![f32_value("e", "N", &[dim])],
        ..Default::default()
    };
    let set = OperatorSetIdProto { domain: Some(String::new()), version: Some(20) };
    ModelProto { ir_version: Some(9), opset_import: vec![set], graph: Some(graph), ..Default::default() }
}

/// Trains until the end, or until it stops; the model's bytes, if there are any.
fn trained(settings: &[&str], folder: &Path, heard: &mut Heard) -> Option<Vec<u8>> {
    let quick = ["regularise.norm=batch", "regularise.dropout=0.1", "epochs=10"];
    match train(&recipe(&[&quick[..], settings].concat()), &model(), &people(), folder, heard).unwrap() {
        Outcome::Finished(f) => Some(fs::read(f.model).unwrap()),
        Outcome::Stopped { .. } => None,
    }
}

#[test]
fn the_loss_falls_and_people_who_were_not_trained_on_are_told_apart_better() {
    let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let bytes = trained(&[], folder.path(), &mut heard).unwrap();
    let (first, last) = (heard.losses[0], heard.losses[heard.losses.len() - 1]);
    assert!(last < 0.8 * first, "{first} to {last}");
    let auc = |v: Option<&(u64, f64, f64)>| v.unwrap().2;
    let (before, after) = (auc(heard.validations.first()), auc(heard.validations.last()));
    assert!(after > before + 0.03, "{before} to {after}");
    let graph = onnx::decode(&bytes).unwrap().graph.unwrap();
    let floats = |name: &str| onnx::graph::constant_floats(&graph, name).unwrap();
    assert_ne!(floats("bn.mean"), [0.0; CHANNELS], "statistics follow the photos");
    assert_eq!(floats("ratio"), [0.9], "the recipe's Dropout is of the training, not of the model");
    assert_eq!(graph.node, model().graph.unwrap().node);
}

#[test]
fn stopped_in_the_middle_it_ends_with_the_same_bytes_whatever_learns() {
    for method in ["method=full", "method=tail", "method=head"] {
        let settings = [method, "epochs=4", "tail.share=0.4", "head.views=2", "regularise.ema=0.5"];
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut heard = Heard::default();
        let model = trained(&settings, whole.path(), &mut heard).unwrap();
        let middle = heard.steps[heard.steps.len() * 2 / 3];
        let mut stopped = Heard { stop_at: Some(middle), ..Heard::default() };
        let none = trained(&settings, parts.path(), &mut stopped).is_none();
        assert!(none && !stopped.losses.is_empty(), "{method}");
        assert!(trained(&settings, parts.path(), &mut Heard::default()).unwrap() == model, "{method}");
        assert!(model != onnx::encode(&self::model()), "{method} learned nothing");
    }
}
