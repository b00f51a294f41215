//! What a run ends with.

use std::fs;

use serde_json::Value;
use visavis_training::Outcome;

use super::{Heard, finished, linear, people, recipe, run};

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_loss_falls_strangers_are_told_apart_better_and_everything_is_written_down() {
    let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let mut people = people();
    people.broken = vec![17, 100];
    let Outcome::Finished(done) = run(&recipe(&[]), &people, folder.path(), &mut heard).unwrap() else { panic!() };
    let mean = |l: &[f64]| l.iter().sum::<f64>() / l.len() as f64;
    let (first, last) = (mean(&heard.losses[..5]), mean(&heard.losses[heard.losses.len() - 5..]));
    assert!(last < 0.7 * first, "the loss fell from {first} to {last} only");
    let before = heard.validations[0];
    let better = |b: (u64, f64, f64), v: &(u64, f64, f64)| if (v.1, v.2) > (b.1, b.2) { *v } else { b };
    let best = heard.validations.iter().fold(before, better);
    assert!(before.0 == 0 && best.2 > before.2 + 0.05, "people who were not trained on: {before:?}, then {best:?}");
    assert_eq!(done.best_step, best.0, "the best step is kept, not the last");

    let p = &done.document.protocols[0];
    assert_eq!((p.identities, p.name.as_str(), p.chose_the_step), (6, "as they are", false));
    assert!(p.champion.is_none() && p.candidate.report.auc.value > before.2);
    let model = onnx::decode(&fs::read(&done.model).unwrap()).unwrap();
    let began = linear::model(3);
    let nodes = |m: &onnx::ModelProto| m.graph.as_ref().unwrap().node.clone();
    assert_eq!(nodes(&model), nodes(&began), "the graph is the same");
    assert_ne!(model, began, "the weights are not");

    let data = json(&folder.path().join("data.json"));
    assert_eq!((&data["identities"], &data["samples"]), (&42.into(), &250.into()));
    assert_eq!(data["unusable"][0]["sample"], "person 2/17.png");
    assert!(data["warnings"].to_string().contains("fewer than 20 photos"), "{}", data["warnings"]);
    assert!((data["yaw"]["median"].as_f64().unwrap()).abs() < 5.0);
    let record = json(&folder.path().join("run.json"));
    assert_eq!(record["done"].as_array().unwrap().len(), 4);
    assert_eq!((&record["recipe"]["seed"], &record["dataset"]["samples"]), (&1.into(), &250.into()));
    assert_eq!(record["dataset"]["sha256"].as_str().unwrap().len(), 64);
    let page = fs::read_to_string(&done.report).unwrap();
    for part in
        ["Loss", "Learning rate", "Validation", "DET", "fewer than 20 photos", "Where this comes from", "SHA-256"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(page.contains("<polyline") && !page.contains("NaN") && !page.contains("person 2"));
    let lines = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), heard.losses.len() + heard.validations.len());
    assert!(lines.lines().all(|l| l.contains("loss") == l.contains("images_per_second")), "{lines}");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let of = |settings: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        finished(&recipe(settings), &people(), folder.path())
    };
    let first = of(&["epochs=2"]);
    assert!(first == of(&["epochs=2"]));
    assert!(first != of(&["epochs=2", "seed=2"]));
}

#[test]
fn every_loss_optimiser_and_method_learns() {
    let cases: [&[&str]; 5] = [
        &["loss.kind=softmax", "optimiser.kind=sgd", "optimiser.learning_rate=0.1"],
        &["loss.kind=cosface", "regularise.ema=0"],
        &["method=tail", "tail.from=e", "optimiser.learning_rate=0.01"],
        &["method=head", "head.views=2", "optimiser.learning_rate=0.01"],
        &["loss.prototypes=centres", "distill.features=1", "distill.logits=1", "epochs=8"],
    ];
    for settings in cases {
        let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
        run(&recipe(settings), &people(), folder.path(), &mut heard).unwrap();
        let (first, last) = (heard.losses[0], heard.losses[heard.losses.len() - 1]);
        assert!(last < 0.95 * first, "{settings:?}: {first} to {last}");
    }
}

#[test]
fn what_does_not_learn_keeps_its_weights() {
    let of = |settings: &[&str], name: &str| {
        let folder = tempfile::tempdir().unwrap();
        // Nothing is validated in between: the last step is the only one that can be better than the start.
        let model = onnx::decode(&finished(&recipe(settings), &people(), folder.path())).unwrap();
        onnx::graph::constant_floats(model.graph.as_ref().unwrap(), name).unwrap()
    };
    let began = |name: &str| onnx::graph::constant_floats(linear::model(3).graph.as_ref().unwrap(), name).unwrap();
    for settings in [&["method=head", "head.views=1"][..], &["method=tail", "tail.from=e"]] {
        assert!(of(settings, "w1") == began("w1") && of(settings, "w2") != began("w2"), "{settings:?}");
    }
}

#[test]
fn a_model_that_nothing_improves_comes_out_as_it_went_in() {
    // Steps so small that they change nothing, and a teacher that is the model itself.
    let settings = ["optimiser.learning_rate=1e-12", "loss.prototypes=centres", "validation.patience=2", "epochs=30"];
    let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let Outcome::Finished(done) = run(&recipe(&settings), &people(), folder.path(), &mut heard).unwrap() else {
        panic!()
    };
    assert_eq!(done.best_step, 0);
    assert_eq!(heard.validations.len(), 3, "and patience ended it: {:?}", heard.validations);
    assert_eq!(onnx::decode(&fs::read(&done.model).unwrap()).unwrap(), linear::model(3));
    let p = &done.document.protocols[0];
    let gap = p.paired.as_ref().unwrap().get("tar_at_fmr_1e-3").unwrap().difference;
    assert_eq!((gap.value, gap.interval.low, gap.interval.high), (0.0, 0.0, 0.0));
}

#[test]
fn a_domain_is_measured_beside_the_photos_as_they_are() {
    let settings = ["domain.reduced={ probability = 1.0, range = [12, 12] }", "loss.prototypes=centres", "epochs=2"];
    let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let Outcome::Finished(done) = run(&recipe(&settings), &people(), folder.path(), &mut heard).unwrap() else {
        panic!()
    };
    let names: Vec<&str> = done.document.protocols.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["as the cameras see them", "as they are"]);
    let champion = |i: usize| done.document.protocols[i].champion.as_ref().unwrap().report.auc.value;
    assert_ne!(champion(0), champion(1), "the domain changes what is seen");
    assert_eq!(done.probes.len(), 8);
}
