//! The runtime and the models, fetched where they are missing, and pictures to feed them.

use std::{env, path::PathBuf};

use models::{Cache, Catalogue, Kind, Manifest, Model, Pip, Silent, Target, fetch};
use visavis_inference::{Expected, OnnxRuntime, OrtEngine, SessionOptions, Tensor};

pub fn cache() -> Cache {
    let own = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache/visavis"));
    let root = env::var_os("VISAVIS_CACHE_DIR").map(PathBuf::from).or_else(own);
    Cache::open(root.expect("HOME or VISAVIS_CACHE_DIR")).unwrap()
}

pub fn runtime() -> OnnxRuntime {
    let library = Catalogue::built_in().unwrap().runtime().artefact().unwrap();
    let cache = cache();
    fetch(&cache, std::slice::from_ref(&library), &Pip::default(), &Silent).unwrap();
    OnnxRuntime::load(&cache.find(&library).unwrap().expect("it was fetched")).unwrap()
}

/// A model as it is served on a CPU.
pub fn model(name: &str) -> Model {
    let catalogue = Catalogue::built_in().unwrap();
    let manifest = catalogue.manifests().find(|m| m.name == name).unwrap();
    let cache = cache();
    fetch(&cache, &[manifest.artefact()], &Pip::default(), &Silent).unwrap();
    Model::load(manifest, &cache, true, Target::Cpu).unwrap()
}

/// What the worker tells the engine about a manifest.
pub fn expected(manifest: &Manifest) -> Expected {
    Expected {
        model: manifest.name.clone(),
        item_shape: manifest.item_shape().to_vec(),
        outputs: manifest.output_names(),
        output_dim: match &manifest.kind {
            Kind::Embedder(e) => Some(e.dim),
            Kind::Detector(_) => None,
        },
    }
}

pub fn engine(name: &str) -> OrtEngine {
    let model = model(name);
    OrtEngine::load(&runtime(), &model.onnx, &SessionOptions::default(), &expected(&model.manifest)).unwrap()
}

/// `n` different smooth, coloured pictures of samples 0..=255, reproducible.
pub fn pictures(n: usize, side: usize) -> Tensor {
    let plane = side * side;
    let value = |i: usize| {
        let (image, channel, at) = (i / (3 * plane), i / plane % 3, i % plane);
        let (x, y) = ((at % side) as f32 / side as f32, (at / side) as f32 / side as f32);
        let (a, b) = (3.0 + image as f32, 5.0 + channel as f32 * 2.0);
        (127.5 + 60.0 * (a * x + y).sin() + 60.0 * (b * y - x * x).cos()).clamp(0.0, 255.0)
    };
    Tensor::new([n, 3, side, side], (0..n * 3 * plane).map(value).collect()).unwrap()
}

/// Item `i` of a batch as a batch of its own.
pub fn single(batch: &Tensor, i: usize) -> Tensor {
    Tensor::new([&[1], batch.item_shape()].concat(), batch.item(i).unwrap().to_vec()).unwrap()
}

/// Largest difference, relative to the largest value.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs())) / largest
}

pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
