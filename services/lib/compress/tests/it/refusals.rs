//! What is not quantised, and says why.

use onnx::{
    graph::{int, node},
    tensor::f32_tensor,
};
use proptest::prelude::*;
use visavis_compress::{CompressError, Quantiser};

use crate::rig::{Failed, conv, model, quantised};

fn refused(onnx: &[u8]) -> CompressError {
    Quantiser::new(onnx).unwrap_err()
}

fn one_convolution(opset: i64) -> Vec<u8> {
    let (n, constants) = conv("x", "y", [8, 8, 1], 1);
    model(vec![n], constants.into(), &[1, 8, 12, 12], opset)
}

#[test]
fn graphs_without_anything_to_quantise_say_so() {
    let relu = model(vec![node("Relu", &["x"], "y")], vec![], &[1, 8, 12, 12], 11);
    assert_eq!(refused(&relu), CompressError::NothingToDo);
    let (n, constants) = conv("x", "y", [8, 2, 1], 4);
    assert_eq!(refused(&model(vec![n], constants.into(), &[1, 8, 12, 12], 11)), CompressError::NothingToDo);
    assert!(matches!(refused(b"no model"), CompressError::Graph(_)));
    assert!(matches!(refused(b""), CompressError::Graph(_)));
}

#[test]
fn a_model_that_is_quantised_already_is_refused() {
    let narrow = quantised(&one_convolution(11), 2).unwrap();
    assert!(matches!(refused(&narrow), CompressError::Already(_)));
}

#[test]
fn operators_that_mean_something_else_in_the_newer_set_are_named() {
    assert!(matches!(refused(&one_convolution(9)), CompressError::OperatorSet { from: 9, .. }));
    let (n, constants) = conv("x", "c", [8, 8, 1], 1);
    let softmax = model(vec![n, node("Softmax", &["c"], "y")], constants.into(), &[1, 8, 12, 12], 11);
    assert!(refused(&softmax).to_string().contains("Softmax"), "{}", refused(&softmax));
    let (n, constants) = conv("x", "c", [8, 8, 1], 1);
    let mut softmax = node("Softmax", &["c"], "y");
    softmax.attribute.push(int("axis", 1));
    Quantiser::new(&model(vec![n, softmax], constants.into(), &[1, 8, 12, 12], 17)).unwrap();
}

#[test]
fn no_samples_and_samples_that_are_not_finite_are_errors() {
    let quantiser = Quantiser::new(&one_convolution(11)).unwrap();
    assert!(quantiser.values() > 0);
    let none = quantiser.calibrate::<CompressError>(0, |_, _| Ok(()));
    assert_eq!(none, Err(CompressError::NoSamples));
    let silent = quantiser.calibrate::<CompressError>(1, |_, _| Ok(()));
    assert!(matches!(silent, Err(CompressError::Observation { .. })));
    let (n, [mut weights, bias]) = conv("x", "y", [8, 8, 1], 1);
    weights = f32_tensor(weights.name(), &weights.dims, &[f32::NAN; 64]);
    let broken = quantised(&model(vec![n], vec![weights, bias], &[1, 8, 12, 12], 11), 1);
    assert!(matches!(broken, Err(Failed::Compress(CompressError::Observation { .. }))), "{broken:?}");
}

proptest! {
    /// Any graph of these parts is planned or refused, and written or refused: never a panic.
    #[test]
    fn no_graph_makes_it_panic(parts in proptest::collection::vec((0usize..8, 0usize..5, 0usize..5), 0..10)) {
        let ops = ["Conv", "PRelu", "Relu", "Add", "MaxPool", "Flatten", "Gemm", "Sigmoid"];
        let names = ["x", "a", "b", "w", "y"];
        let nodes = parts.iter().map(|(op, i, o)| {
            let mut n = node(ops[*op], &[names[*i], "w", "v"], names[*o]);
            n.input.truncate(if matches!(ops[*op], "Relu" | "Sigmoid" | "Flatten") { 1 } else { 2 + i % 2 });
            n
        });
        let constants = vec![f32_tensor("w", &[8, 8, 1, 1], &[0.5; 64]), f32_tensor("v", &[8], &[1.0; 8])];
        let onnx = model(nodes.collect(), constants, &[1, 8, 12, 12], 11);
        if let Ok(quantiser) = Quantiser::new(&onnx) {
            let values = onnx::decode(&quantiser.observed()).unwrap().graph.unwrap().output;
            let ranges = quantiser.calibrate::<CompressError>(1, |_, observe| {
                values.iter().for_each(|v| observe(v.name(), &[1, 8, 1, 1], &[-1.0; 8]));
                Ok(())
            });
            if let Ok(ranges) = ranges {
                let _ = quantiser.quantise(&ranges);
            }
        }
    }
}
