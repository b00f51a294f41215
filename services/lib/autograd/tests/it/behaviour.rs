//! What callers rely on beside right numbers: the same bits every time, nodes untouched, frozen parts left alone,
//! errors that name what is wrong.

use onnx::{ModelProto, decode, encode, graph};
use visavis_autograd::{Error, InputShape, Network, Norm, Options, Pass, Trainable};

use crate::{
    build::{Net, Random, float},
    check::options,
    nets::{iresnet, mobile_face_net, sface, vit},
};

/// Some steps downhill, with dropout where the model has it; the model as it is afterwards.
fn trained(model: &ModelProto, options: &Options, steps: u64) -> ModelProto {
    let mut network = Network::new(model, options).expect("a network");
    let batch = Random::new(11).list(network.input().len() * 4);
    for seed in 0..steps {
        network.zero_gradients();
        let y = network.forward(&batch, 4, Pass::Training { seed }).expect("forward");
        network.backward(&y).expect("backward");
        for parameter in network.parameters() {
            for (value, gradient) in parameter.value.iter_mut().zip(&parameter.gradient) {
                *value -= 1e-3 * gradient;
            }
        }
    }
    let mut model = model.clone();
    network.write_into(&mut model).expect("written");
    model
}

fn dropping() -> ModelProto {
    let mut model = sface();
    let nodes = &mut model.graph.as_mut().expect("a graph").node;
    nodes.iter_mut().find(|n| n.op_type() == "Dropout").expect("dropout").attribute = vec![float("ratio", 0.4)];
    model
}

#[test]
fn the_same_seed_gives_the_same_file_also_after_a_reload() {
    for model in [mobile_face_net(), dropping(), iresnet(), vit()] {
        for threads in [1, 2, 3] {
            let options = options(Norm::Batch, threads);
            let whole = encode(&trained(&model, &options, 3));
            assert_eq!(whole, encode(&trained(&model, &options, 3)), "{threads} threads");
            assert_ne!(whole, encode(&trained(&model, &options, 2)));
            let reread = decode(&encode(&trained(&model, &options, 1))).expect("a model");
            let network = Network::new(&reread, &options).expect("a network");
            let mut again = reread.clone();
            network.write_into(&mut again).expect("written");
            assert_eq!(encode(&again), encode(&reread), "what is not trained is written as it was read");
        }
    }
}

#[test]
fn dropout_follows_the_seed_and_is_gone_in_evaluation() {
    let mut network = Network::new(&dropping(), &options(Norm::Frozen, 2)).expect("a network");
    let batch = Random::new(5).list(network.input().len() * 3);
    let mut run = |pass| network.forward(&batch, 3, pass).expect("forward");
    let one = run(Pass::Training { seed: 1 });
    assert_eq!(one, run(Pass::Training { seed: 1 }));
    assert_ne!(one, run(Pass::Training { seed: 2 }));
    let plain = run(Pass::Evaluation);
    assert_ne!(one, plain);
    let mut without = Network::new(&sface(), &options(Norm::Frozen, 2)).expect("a network");
    assert_eq!(plain, without.forward(&batch, 3, Pass::Evaluation).expect("forward"));
}

#[test]
fn nodes_stay_byte_for_byte_and_weights_change() {
    for model in [mobile_face_net(), sface(), iresnet(), vit()] {
        let changed = trained(&model, &options(Norm::Batch, 2), 1);
        let without = |model: &ModelProto| {
            let mut model = model.clone();
            let weights = std::mem::take(&mut model.graph.as_mut().expect("a graph").initializer);
            (encode(&model), weights)
        };
        let ((before, weights), (after, others)) = (without(&model), without(&changed));
        assert_eq!(before, after);
        let shape = |t: &onnx::proto::TensorProto| (t.name().to_owned(), t.dims.clone(), t.data_type());
        assert!(weights.iter().map(shape).eq(others.iter().map(shape)));
        let moved = weights.iter().zip(&others).filter(|(a, b)| a != b).count();
        assert!(moved * 3 > weights.len(), "{moved} of {} weights moved", weights.len());
    }
}

#[test]
fn what_lies_before_the_trained_part_is_left_alone() {
    let model = mobile_face_net();
    let options = Options { trainable: Trainable::From("b1_down".into()), ..options(Norm::Batch, 2) };
    let changed = trained(&model, &options, 2);
    let tensors = |m: &ModelProto| m.graph.as_ref().expect("a graph").initializer.clone();
    let first = tensors(&model).iter().position(|t| t.name() == "b1_down_w").expect("the weight");
    assert_eq!(tensors(&model)[..first], tensors(&changed)[..first], "weights and statistics in front");
    let names: Vec<String> =
        Network::new(&model, &options).expect("a network").parameters().iter().map(|p| p.name.clone()).collect();
    assert_eq!(names[0], "b1_down_w");
    let missing = Options { trainable: Trainable::From("nowhere".into()), ..options };
    assert_eq!(Network::new(&model, &missing).err(), Some(Error::NoSuchValue("nowhere".into())));
}

/// Features of a frozen front, fed to the rest, give what the whole gives.
#[test]
fn a_network_from_a_tensor_is_the_rest_of_the_network() {
    let model = mobile_face_net();
    let rest_trained = Options { trainable: Trainable::From("gdc".into()), ..options(Norm::Frozen, 2) };
    let mut whole = Network::new(&model, &rest_trained).expect("a network");
    let mut front = model.clone();
    front.graph.as_mut().expect("a graph").output[0].name = Some("b1_out".into());
    let mut front = Network::new(&front, &options(Norm::Frozen, 2)).expect("a network");
    let mut rest = Network::from_tensor(&model, "b1_out", &options(Norm::Frozen, 2)).expect("a network");
    assert_eq!(rest.input(), InputShape::Image { channels: 16, height: 3, width: 3 });
    let batch = Random::new(2).list(whole.input().len() * 2);
    let features = front.forward(&batch, 2, Pass::Evaluation).expect("forward");
    let training = Pass::Training { seed: 0 };
    let y = whole.forward(&batch, 2, training).expect("forward");
    assert_eq!(rest.forward(&features, 2, training).expect("forward"), y);
    whole.backward(&y).expect("backward");
    rest.backward(&y).expect("backward");
    let names = |n: &mut Network| n.parameters().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&mut whole), names(&mut rest));
    assert_eq!(whole.parameters(), rest.parameters());
    assert!(Network::from_tensor(&model, "nowhere", &options(Norm::Frozen, 1)).is_err());
}

#[test]
fn statistics_go_into_checkpoints_and_come_back() {
    let model = mobile_face_net();
    let options = options(Norm::Batch, 2);
    let mut network = Network::new(&model, &options).expect("a network");
    let before = network.state();
    let batch = Random::new(2).list(network.input().len() * 4);
    network.forward(&batch, 4, Pass::Training { seed: 0 }).expect("forward");
    let after = network.state();
    assert_ne!(before, after);
    network.forward(&batch, 4, Pass::Evaluation).expect("forward");
    assert_eq!(network.state(), after, "evaluation changes nothing");
    let mut other = Network::new(&model, &options).expect("a network");
    other.set_state(&after).expect("fits");
    assert_eq!(other.state(), after);
    let mut wrong = after.clone();
    wrong[0].values.pop();
    assert!(matches!(other.set_state(&wrong), Err(Error::Length { .. })));
    wrong[0].name = "nothing".into();
    assert_eq!(other.set_state(&wrong[..1]), Err(Error::NoSuchValue("nothing".into())));
}

#[test]
fn gradients_add_up_until_they_are_set_to_zero() {
    let mut network = Network::new(&iresnet(), &options(Norm::Frozen, 2)).expect("a network");
    let batch = Random::new(2).list(network.input().len() * 3);
    let mut sums = Vec::new();
    for _ in 0..2 {
        let y = network.forward(&batch, 3, Pass::Training { seed: 0 }).expect("forward");
        network.backward(&y).expect("backward");
        sums.push(network.parameters()[0].gradient.clone());
    }
    for (once, twice) in sums[0].iter().zip(&sums[1]) {
        assert!((2.0 * once - twice).abs() <= 1e-4 * once.abs().max(1e-2), "{once} and {twice}");
    }
    network.zero_gradients();
    assert!(network.parameters().iter().all(|p| p.gradient.iter().all(|g| *g == 0.0)));
}

#[test]
fn memory_is_told_and_grows_with_the_batch() {
    let mut network = Network::new(&mobile_face_net(), &options(Norm::Frozen, 1)).expect("a network");
    let told = network.memory(8);
    assert!(network.memory(16) > told);
    let batch = vec![0.1; network.input().len() * 8];
    network.forward(&batch, 8, Pass::Training { seed: 0 }).expect("forward");
    network.backward(&vec![1.0; network.dim() * 8]).expect("backward");
    let parameters: usize = network.parameters().iter().map(|p| 8 * p.value.len()).sum();
    assert!(network.held() + parameters <= told + (1 << 16), "{} held, {told} told", network.held());
}

#[test]
fn calls_that_do_not_fit_are_errors() {
    let mut network = Network::new(&iresnet(), &options(Norm::Frozen, 1)).expect("a network");
    let len = network.input().len();
    let training = Pass::Training { seed: 0 };
    assert_eq!(network.forward(&[], 0, training), Err(Error::EmptyBatch));
    assert!(matches!(network.forward(&vec![0.0; len], 2, training), Err(Error::Length { .. })));
    assert_eq!(network.backward(&[0.0; 6]), Err(Error::NothingToTakeBack));
    network.forward(&vec![0.0; len], 1, training).expect("forward");
    assert!(matches!(network.backward(&[0.0; 5]), Err(Error::Length { .. })));
    network.backward(&[0.0; 6]).expect("backward");
    assert_eq!(network.backward(&[0.0; 6]), Err(Error::NothingToTakeBack));
    network.forward(&vec![0.0; len], 1, Pass::Evaluation).expect("forward");
    assert_eq!(network.backward(&[0.0; 6]), Err(Error::NothingToTakeBack));
    assert!(network.write_into(&mut mobile_face_net()).is_err());
}

fn refusal(build: impl FnOnce(&mut Net) -> String) -> String {
    let mut net = Net::new(&[3, 6, 6]);
    let y = build(&mut net);
    Network::new(&net.finish(&y), &options(Norm::Frozen, 1)).err().expect("a refusal").to_string()
}

#[test]
fn what_cannot_be_trained_is_refused_by_name() {
    let unknown = refusal(|net| net.node("Einsum", &["x"], "strange", vec![]));
    assert!(unknown.contains("Einsum") && unknown.contains("strange"), "{unknown}");
    let dilated = refusal(|net| {
        let w = net.weight("w", &[4, 3, 3, 3], (0.0, 1.0));
        net.node("Conv", &["x", &w], "wide", vec![graph::ints("dilations", &[2, 2])])
    });
    assert!(dilated.contains("wide") && dilated.contains("dilations"), "{dilated}");
    let turned = refusal(|net| net.node("Transpose", &["x"], "turned", vec![graph::ints("perm", &[1, 0, 2, 3])]));
    assert!(turned.contains("turned"), "{turned}");
    let merged = refusal(|net| {
        let sizes = net.ints("sizes", &[-1, 36]);
        net.node("Reshape", &["x", &sizes], "merged", vec![])
    });
    assert!(merged.contains("merged"), "{merged}");
    let nothing = refusal(|net| net.node("Flatten", &["x"], "flat", vec![]));
    assert!(nothing.contains("nothing in it is trained"), "{nothing}");
}

/// As the models in use are: a batch of 1 in the declared shapes, weights listed among the inputs.
#[test]
fn fixed_batches_and_weights_among_the_inputs_are_taken() {
    let mut model = sface();
    let graph = model.graph.as_mut().expect("a graph");
    let listed: Vec<_> = graph.initializer.iter().map(|t| t.name().to_owned()).collect();
    for name in listed {
        let mut value = graph.output[0].clone();
        value.name = Some(name);
        graph.input.push(value);
    }
    let mut network = Network::new(&model, &options(Norm::Frozen, 1)).expect("a network");
    assert_eq!(network.input(), InputShape::Image { channels: 3, height: 8, width: 8 });
    let batch = vec![0.1; network.input().len() * 2];
    assert_eq!(network.forward(&batch, 2, Pass::Evaluation).expect("forward").len(), 12);
}
