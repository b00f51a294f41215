//! Every architecture runs in ONNX Runtime as it is written, in batches as in singles.

use architectures::{Architecture, SIDE, build};
use autograd::{Network, Norm, Options, Pass, Trainable};
use inference::{Engine, Expected, OnnxRuntime, OrtEngine, SessionOptions, Tensor};

use crate::cosine;

/// Noise in 0..255, for `n` faces.
fn faces(n: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from((state >> 56) as u8)
    };
    (0..n * 3 * SIDE * SIDE).map(|_| next()).collect()
}

async fn runs(architecture: Architecture) {
    let (_, runtime): (_, OnnxRuntime) = crate::models::load("sface").await;
    let model = build(architecture, &architectures::Options::default()).expect("a model");
    let dim = architecture.default_dim();
    let expected = Expected {
        model: architecture.name().into(),
        item_shape: vec![3, SIDE, SIDE],
        outputs: Vec::new(),
        output_dim: Some(dim),
    };
    // As it is written, and with the rewrites for serving on processors.
    let mut served = model.clone();
    onnx::rewrite::for_serving(&mut served).expect("a rewrite");
    onnx::rewrite::for_cpu(&mut served).expect("a rewrite");
    let input = faces(3);
    let mut outputs = Vec::new();
    for bytes in [onnx::encode(&model), onnx::encode(&served)] {
        let mut engine = OrtEngine::load(&runtime, &bytes, &SessionOptions::default(), &expected).expect("it loads");
        let mut run = |n: usize, values: &[f32]| {
            let batch = Tensor::new([n, 3, SIDE, SIDE], values.to_vec()).expect("a batch");
            let out = engine.run(&batch).expect("it runs");
            out.first().expect("an output").data().to_vec()
        };
        let together = run(3, &input);
        assert_eq!(together.len(), 3 * dim);
        assert!(together.iter().all(|v| v.is_finite()));
        let one = 3 * SIDE * SIDE;
        for (i, row) in together.chunks_exact(dim).enumerate() {
            let alone = run(1, &input[i * one..(i + 1) * one]);
            assert!(cosine(&alone, row) > 0.999_999, "{architecture}: face {i} alone and among others");
        }
        let different = cosine(&together[..dim], &together[dim..2 * dim]);
        assert!(different < 0.999_999, "{architecture} gives one answer to all: {different}");
        outputs.push(together);
    }
    assert!(cosine(&outputs[0], &outputs[1]) > 0.999_99, "{architecture}: the rewrites change it");
    // And the engine that trains it sees the same network.
    let options = Options { trainable: Trainable::All, norm: Norm::Frozen, threads: 2 };
    let mut network = Network::new(&model, &options).expect("it can be trained");
    let trained = network.forward(&input, 3, Pass::Evaluation).expect("it runs");
    let most = outputs[0].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let off = trained.iter().zip(&outputs[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= 1e-4 * most, "{architecture}: engine and ONNX Runtime differ by {off} of {most}");
}

#[tokio::test]
async fn small_ones_run_in_onnx_runtime() {
    for architecture in [Architecture::MobileFaceNet, Architecture::IResNet18, Architecture::VitT] {
        runs(architecture).await;
    }
}

#[tokio::test]
#[ignore = "models of up to 343 MB: cargo test --release -p visavis-tests --test accuracy architectures -- --ignored"]
async fn large_ones_run_in_onnx_runtime() {
    for architecture in [Architecture::VitS, Architecture::IResNet50, Architecture::IResNet100, Architecture::VitB] {
        runs(architecture).await;
    }
}

/// MiB of a step with 32 faces, as the README of the engine states them.
const STATED: [(Architecture, usize); 3] =
    [(Architecture::MobileFaceNet, 560), (Architecture::IResNet18, 1090), (Architecture::VitT, 840)];

#[test]
fn a_training_step_takes_no_more_memory_than_is_stated() {
    for (architecture, stated) in STATED {
        let model = build(architecture, &architectures::Options::default()).expect("a model");
        let options = Options { trainable: Trainable::All, norm: Norm::Batch, threads: 2 };
        let network = Network::new(&model, &options).expect("it can be trained");
        let takes = network.memory(32) >> 20;
        assert!(takes <= stated, "{architecture}: {takes} MiB and not {stated}");
        assert!(takes > stated / 2, "{architecture}: {takes} MiB: state it");
    }
}
