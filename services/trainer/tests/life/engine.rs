//! Runs that the training engine learns as it is, beginning with an architecture by its name: what comes of them, and how
//! they fail. Nothing is registered of one that fails, so whatever is in use stays.

use std::{fs, sync::Arc};

use domain::{BaseModel, OverrideValue, RecipeName, RunId, RunState};
use store::RunRecord;
use testkit::SmallDisk;
use trainer::{Engine, Scratch};

use crate::kit::{BASE, Kit, Running};

const PEOPLE: [&str; 8] = ["anna", "bert", "cara", "dina", "emil", "fred", "gina", "hugo"];

fn trainer(kit: &Kit) -> Running {
    let scratch = Scratch::open(&kit.folder.path().join("scratch"), false).unwrap();
    kit.trainer_with(Arc::new(Engine::new(scratch)))
}

/// A run over everybody that begins with `base`, on its lane.
async fn start(kit: &Kit, (base, recipe): (&str, RecipeName), rate: f64) -> RunId {
    let base = BaseModel::new(base).unwrap();
    let mut run = RunRecord::new(RunId::generate(), vec![kit.collection.clone()], recipe, base);
    let whole = [("epochs", 1), ("batch.size", 6), ("batch.micro", 6), ("checkpoint.seconds", 0), ("seed", 7)];
    run.overrides = whole.map(|(k, v)| (k.to_owned(), OverrideValue::Whole(v))).into();
    run.overrides.insert("optimiser.learning_rate".into(), OverrideValue::Real(rate));
    kit.runs().create(&run).await.unwrap();
    kit.send(&run.id).await;
    run.id
}

const SCRATCH: (&str, RecipeName) = ("mobilefacenet", RecipeName::FromScratch);

#[tokio::test(flavor = "multi_thread")]
async fn random_weights_become_a_candidate_and_are_not_fine_tuned() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let trainer = trainer(&kit);
    let tuned = start(&kit, ("mobilefacenet", RecipeName::FineTuneHead), 1e-3).await;
    let detail = kit.failed(&tuned, "invalid_recipe").await;
    assert!(detail.contains("from-scratch"), "{detail}");
    let unknown = start(&kit, ("mobilefacenet2", RecipeName::FromScratch), 1e-3).await;
    kit.failed(&unknown, "base_model_unavailable").await;

    let run = start(&kit, SCRATCH, 1e-3).await;
    let record = kit.end(&run).await;
    assert_eq!((record.state, &record.failure), (RunState::Done, &None));
    let (_, onnx, told) = kit.taken.0.lock().unwrap()[0].clone();
    let model = onnx::decode(&onnx).unwrap();
    assert_eq!(architectures::parameters(&model), 1_003_136, "not the network that was asked for");
    let options = architectures::Options { seed: 7, ..Default::default() };
    let random = architectures::build(architectures::Architecture::MobileFaceNet, &options).unwrap();
    // Noise teaches nothing: which of its weights were best is left to validation.
    assert!(model.graph.unwrap().node == random.graph.unwrap().node, "another graph");
    assert!(record.progress.is_some_and(|p| p.step > 0 && p.loss.is_finite()), "it was not trained");
    assert!(told["score_tables"].as_str().unwrap().contains("no score table"), "{told}");
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_unreadable_photos_and_a_loss_that_is_no_number() {
    let kit = Kit::new().await;
    let trainer = trainer(&kit);
    kit.people(&PEOPLE[..1]).await;
    kit.failed(&start(&kit, SCRATCH, 1e-3).await, "one_identity").await;
    kit.people(&PEOPLE[1..]).await;
    let run = start(&kit, SCRATCH, 1e30).await;
    kit.failed(&run, "loss_not_finite").await;
    for crop in kit.files().into_iter().filter(|f| f.to_string_lossy().contains("/crops/")) {
        fs::write(crop, b"no sealed object").unwrap();
    }
    kit.failed(&start(&kit, SCRATCH, 1e-3).await, "unreadable_photos").await;
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_checkpoint() {
    let Some(disk) = SmallDisk::mount_or_skip(8) else { return };
    let kit = Kit::on(&BASE, Some(disk.path())).await;
    kit.people(&PEOPLE).await;
    let trainer = trainer(&kit);
    // Weights and the optimiser's state of a million parameters are more.
    let detail = kit.failed(&start(&kit, SCRATCH, 1e-3).await, "storage_full").await;
    assert!(detail.contains("no room"), "{detail}");
    trainer.kill();
}
