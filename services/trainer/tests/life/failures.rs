//! What goes wrong is told by name, and nothing comes of it.

use std::fs;

use domain::{BaseModel, RecipeName, RunId};
use store::RunRecord;

use testkit::SmallDisk;

use crate::kit::{BASE, Kit};

const PEOPLE: [&str; 4] = ["anna", "bert", "cara", "dina"];

#[tokio::test(flavor = "multi_thread")]
async fn too_little_to_learn_from() {
    let kit = Kit::new().await;
    let trainer = kit.trainer();
    let nobody = kit.start(&[]).await;
    kit.failed(&nobody, "no_data").await;
    kit.enrol("silent", &kit.consent("silent", false, "doors"), 3).await;
    let silent = kit.start(&[]).await;
    kit.failed(&silent, "no_data").await;
    kit.people(&["anna"]).await;
    let alone = kit.start(&[]).await;
    kit.failed(&alone, "one_identity").await;
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_that_cannot_be_read() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let objects: Vec<_> = kit.files().into_iter().filter(|f| f.to_string_lossy().contains("/crops/")).collect();
    assert_eq!(objects.len(), 12);
    // One of somebody's is left out, and said to be.
    let mut bytes = fs::read(&objects[0]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&objects[0], bytes).unwrap();
    let trainer = kit.trainer();
    let run = kit.start(&[]).await;
    assert_eq!(kit.end(&run).await.lineage.unwrap().unreadable, 1);
    kit.taken.0.lock().unwrap().clear();
    for object in &objects {
        fs::write(object, b"no sealed object").unwrap();
    }
    let run = kit.start(&[]).await;
    let detail = kit.failed(&run, "unreadable_photos").await;
    assert!(detail.contains("12 crops"), "{detail}");
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_is_no_number_and_a_learner_that_panics() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let trainer = kit.trainer();
    let run = kit.start(&[("nan_at", 7)]).await;
    let detail = kit.failed(&run, "loss_not_finite").await;
    assert!(detail.contains("step 7"), "{detail}");
    let run = kit.start(&[("panics_at", 3)]).await;
    kit.failed(&run, "internal").await;
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_served_otherwise_than_it_was_trained() {
    // The stand-in's own arithmetic is wrong for it.
    let kit = Kit::with(&[-5.0; 12]).await;
    kit.people(&PEOPLE).await;
    let trainer = kit.trainer();
    let run = kit.start(&[]).await;
    let detail = kit.failed(&run, "parity_failed").await;
    assert!(detail.contains("1e-4"), "{detail}");
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let Some(disk) = SmallDisk::mount_or_skip(8) else { return };
    let kit = Kit::on(&BASE, Some(disk.path())).await;
    kit.people(&PEOPLE).await;
    kit.hold(3);
    let trainer = kit.trainer();
    let run = kit.start(&[]).await;
    kit.reaches(3).await;
    disk.fill_but(0);
    kit.hold(0);
    let detail = kit.failed(&run, "storage_full").await;
    assert!(detail.contains("no room"), "{detail}");
    // With room again the next one goes through.
    disk.empty();
    let run = kit.start(&[]).await;
    assert_eq!(kit.end(&run).await.failure, None);
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_there() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let trainer = kit.trainer();
    let base = BaseModel::new("no-such-model").unwrap();
    let run = RunRecord::new(RunId::generate(), vec![kit.collection.clone()], RecipeName::FineTuneHead, base);
    kit.runs().create(&run).await.unwrap();
    kit.send(&run.id).await;
    let detail = kit.failed(&run.id, "base_model_unavailable").await;
    assert!(detail.contains("no-such-model"), "{detail}");
    trainer.kill();
}
