//! Whole networks against the reference.

use onnx::{graph, proto::NodeProto};

use crate::{
    check::{check_network, options},
    nets::{folded, iresnet, mobile_face_net, sface, vit},
};
use visavis_autograd::{Network, Norm, Pass};

#[test]
fn a_small_mobile_face_net() {
    check_network(&mobile_face_net());
}

#[test]
fn a_small_sface() {
    check_network(&sface());
}

#[test]
fn a_small_network_with_folded_normalisations() {
    check_network(&folded());
}

#[test]
fn a_small_iresnet() {
    check_network(&iresnet());
}

#[test]
fn a_small_vit() {
    check_network(&vit());
}

/// As exporters write it: the number of samples from `Shape`, the token repeated by `Expand`.
#[test]
fn a_class_token_repeated_by_computed_sizes_gives_the_same() {
    let plain = vit();
    let mut exported = plain.clone();
    let graph = exported.graph.as_mut().expect("a graph");
    let at = graph.node.iter().position(|n| n.output[0] == "class_token").expect("the token");
    let mut push = |node: NodeProto| graph.node.insert(at, node);
    push(graph::node("Expand", &["class", "token_sizes"], "class_token"));
    let mut join = graph::node("Concat", &["n", "token_rest"], "token_sizes");
    join.attribute = vec![graph::int("axis", 0)];
    push(join);
    let mut gather = graph::node("Gather", &["sizes", "token_first"], "n");
    gather.attribute = vec![graph::int("axis", 0)];
    push(gather);
    push(graph::node("Shape", &["tokens"], "sizes"));
    graph.node.retain(|n| n.op_type() == "Expand" || n.output[0] != "class_token");
    graph.initializer.push(onnx::tensor::i64_tensor("token_first", &[1], &[0]));
    graph.initializer.push(onnx::tensor::i64_tensor("token_rest", &[2], &[1, 8]));
    let both = [plain, exported].map(|model| {
        let mut network = Network::new(&model, &options(Norm::Frozen, 1)).expect("a network");
        let batch = crate::build::Random::new(3).list(3 * 192);
        let y = network.forward(&batch, 3, Pass::Training { seed: 1 }).expect("forward");
        network.backward(&y).expect("backward");
        let class = network.parameters().iter().find(|p| p.name == "class").expect("the token").gradient.clone();
        (y, class)
    });
    assert_eq!(both[0].0, both[1].0);
    for (a, b) in both[0].1.iter().zip(&both[1].1) {
        assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} and {b}");
    }
}
