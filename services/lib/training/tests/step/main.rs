//! One whole step of every kind of network that is trained: the network and ArcFace behind it, in single precision as they
//! run, against both in double precision, written for clearness alone. Networks and their reference are the engine's own.

#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking; figures show")]

#[expect(dead_code, reason = "the engine's tests need more of it")]
#[path = "../../../autograd/tests/it/build.rs"]
mod build;
#[path = "../../../autograd/tests/it/nets.rs"]
mod nets;
#[path = "../../../autograd/tests/it/reference.rs"]
mod reference;
#[path = "../../../autograd/tests/it/reference_shapes.rs"]
mod reference_shapes;

use std::collections::HashMap;

use onnx::ModelProto;
use reference::Reference;
use visavis_training::{
    backend::{Autograd, Backend, Part, Pass},
    loss::{Criterion, Prototypes},
    recipe::{LossPart, NormMode},
};

const SAMPLES: usize = 6;
const LABELS: [usize; SAMPLES] = [0, 3, 3, 1, 6, 5];
const PEOPLE: usize = 7;
const SMOOTHING: f32 = 0.1;
const SCALE: f32 = 64.0;
/// The published margin.
const MARGIN: f64 = 0.5;

/// How far the loss may be off, as a share of it.
const OF_LOSS: f64 = 1e-5;
/// How far the gradient of a value may be off, as a share of the largest of its tensor.
const OF_GRADIENT: f64 = 1e-4;
/// Values of a tensor that are tried, and the step of the central differences.
const TRIED: usize = 2;
const STEP: f64 = 1e-6;

/// ArcFace on cosines of embeddings and prototypes, cross-entropy with smoothed labels; the sum over the samples.
fn arcface(embeddings: &[f64], prototypes: &[f64]) -> f64 {
    let dim = embeddings.len() / SAMPLES;
    let (scale, smoothing) = (f64::from(SCALE), f64::from(SMOOTHING));
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cosine = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / length(a) / length(b);
    let of_sample = |(x, label): (&[f64], &usize)| {
        let logit = |(k, w): (usize, &[f64])| {
            let cosine = cosine(x, w);
            scale * if k == *label { (cosine.acos() + MARGIN).cos() } else { cosine }
        };
        let logits: Vec<f64> = prototypes.chunks(dim).enumerate().map(logit).collect();
        let most = logits.iter().copied().fold(f64::MIN, f64::max);
        let total = most + logits.iter().map(|z| (z - most).exp()).sum::<f64>().ln();
        let share = |k: usize| smoothing / PEOPLE as f64 + if k == *label { 1.0 - smoothing } else { 0.0 };
        logits.iter().enumerate().map(|(k, z)| share(k) * (total - z)).sum::<f64>()
    };
    embeddings.chunks(dim).zip(&LABELS).map(of_sample).sum()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// A tensor's gradients against central differences of the loss with single values of it changed; the largest error as a
/// share of the largest gradient.
fn differs(name: &str, (value, gradient): (&[f32], &[f32]), loss: impl Fn(Vec<f64>) -> f64) -> f64 {
    let size = gradient.iter().fold(0.0f64, |m, g| m.max(f64::from(g.abs())));
    let mut worst = 0.0f64;
    for place in reference::spread(value.len(), TRIED) {
        let shifted = |by: f64| {
            let mut value = wide(value);
            value[place] += by;
            loss(value)
        };
        let (seen, wanted) = (f64::from(gradient[place]), (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP));
        let (off, size) = ((seen - wanted).abs(), size.max(wanted.abs()));
        // Behind a normalisation a bias has no gradient but for rounding.
        assert!(off <= OF_GRADIENT * size + 1e-3, "{name} [{place}]: {seen} and not {wanted}");
        if size > 1e-2 {
            worst = worst.max(off / size);
        }
    }
    worst
}

fn check(name: &str, model: &ModelProto) {
    let mut network = Autograd.open(model, Part::Whole, NormMode::Batch, 2).expect("a network");
    let mut random = build::Random::new(5);
    let batch = random.list(network.input() * SAMPLES);
    let prototypes = random.list(PEOPLE * network.dim());
    let part = LossPart { scale: SCALE, label_smoothing: SMOOTHING, ..LossPart::default() };
    let embeddings = network.forward(&batch, SAMPLES, Pass::Training { seed: 1 }).expect("forward");
    let criterion = Criterion::<f32>::new(&part, 1.0, [0.0; 3]);
    let people = Prototypes { weights: &prototypes, bias: &[] };
    let step = criterion.evaluate(&embeddings, &LABELS, people, None);
    network.backward(&step.embeddings).expect("backward");

    let (reference, batch, people) = (Reference::new(model, true), wide(&batch), wide(&prototypes));
    let exact = reference.run(&batch, SAMPLES, &HashMap::new());
    let loss = arcface(&exact, &people);
    let off = (f64::from(step.loss) - loss).abs() / loss;
    assert!(off <= OF_LOSS, "{name}: the loss is {} and not {loss}", step.loss);
    let mut worst = differs("prototypes", (&prototypes, &step.weights), |changed| arcface(&exact, &changed));
    let tensors = network.parameters().len();
    for p in network.parameters() {
        let of = |changed: Vec<f64>| {
            let changed = HashMap::from([(p.name.clone(), changed)]);
            arcface(&reference.run(&batch, SAMPLES, &changed), &people)
        };
        worst = worst.max(differs(&p.name, (&p.value, &p.gradient), of));
    }
    println!("{name}: loss {loss:.4}, off by {off:.1e}; {tensors} tensors, gradients off by up to {worst:.1e}");
}

#[test]
fn mobile_face_net() {
    check("MobileFaceNet", &nets::mobile_face_net());
}

#[test]
fn sface() {
    check("SFace", &nets::sface());
}

#[test]
fn a_network_with_folded_normalisations() {
    check("w600k_mbf", &nets::folded());
}

#[test]
fn iresnet() {
    check("IResNet", &nets::iresnet());
}

#[test]
fn vit() {
    check("ViT", &nets::vit());
}
