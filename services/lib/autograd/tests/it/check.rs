//! Holds a network against the reference: its embeddings, and its gradients against central differences.

use std::collections::HashMap;

use onnx::ModelProto;
use visavis_autograd::{Network, Norm, Options, Pass, Trainable};

use crate::{
    build::Random,
    reference::{self, Reference},
};

/// Places of a parameter that are tried.
const TRIED: usize = 4;
/// Step of the central differences.
const STEP: f64 = 1e-6;

pub fn options(norm: Norm, threads: usize) -> Options {
    Options { trainable: Trainable::All, norm, threads }
}

/// How far a gradient may be off, as a share of the largest of its parameter.
const OPERATOR: f64 = 2e-4;
/// The same for a network, in which rounding adds up and a value may come out on the other side of an activation's bend.
const NETWORK: f64 = 6e-3;

/// Checks evaluation and training on random samples, in both ways of normalising.
pub fn check(model: &ModelProto) {
    for norm in [Norm::Frozen, Norm::Batch] {
        check_with(model, (norm, OPERATOR), 5);
    }
}

/// The same for a whole network.
pub fn check_network(model: &ModelProto) {
    for norm in [Norm::Frozen, Norm::Batch] {
        check_with(model, (norm, NETWORK), 6);
    }
}

fn check_with(model: &ModelProto, (norm, share): (Norm, f64), n: usize) {
    let mut network = Network::new(model, &options(norm, 2)).expect("a network");
    let mut random = Random::new(3);
    let batch = random.list(network.input().len() * n);
    let wide: Vec<f64> = batch.iter().map(|v| f64::from(*v)).collect();
    let seen = network.forward(&batch, n, Pass::Evaluation).expect("evaluation");
    close(&seen, &Reference::new(model, false).run(&wide, n, &HashMap::new()), "evaluation");
    let seen = network.forward(&batch, n, Pass::Training { seed: 1 }).expect("training");
    let reference = Reference::new(model, norm == Norm::Batch);
    close(&seen, &reference.run(&wide, n, &HashMap::new()), "training");
    let weights = random.list(seen.len());
    network.backward(&weights).expect("backward");
    let loss = |changed: &HashMap<String, Vec<f64>>| -> f64 {
        reference.run(&wide, n, changed).iter().zip(&weights).map(|(y, w)| y * f64::from(*w)).sum()
    };
    assert!(!network.parameters().is_empty());
    for parameter in network.parameters() {
        let values: Vec<f64> = parameter.value.iter().map(|v| f64::from(*v)).collect();
        let size = parameter.gradient.iter().map(|g| f64::from(*g).abs()).fold(0.0, f64::max);
        for place in reference::spread(values.len(), TRIED) {
            let shifted = |by: f64| {
                let mut values = values.clone();
                values[place] += by;
                loss(&HashMap::from([(parameter.name.clone(), values)]))
            };
            let wanted = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
            let seen = f64::from(parameter.gradient[place]);
            assert!(
                (seen - wanted).abs() <= 2e-3 * wanted.abs() + share * size.max(wanted.abs()) + 2e-5,
                "{} [{place}], {norm:?}: {seen} and not {wanted}",
                parameter.name
            );
        }
    }
}

/// Each value to a few digits of the largest.
pub fn close(seen: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(seen.len(), wanted.len(), "{what}");
    let size = wanted.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (seen, wanted)) in seen.iter().zip(wanted).enumerate() {
        assert!((f64::from(*seen) - wanted).abs() <= 3e-5 * size, "{what} [{i}]: {seen} and not {wanted}");
    }
}
