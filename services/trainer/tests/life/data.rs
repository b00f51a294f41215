//! Who is in a dataset, and who is not.

use std::collections::BTreeSet;

use domain::RunState;
use trainer::manifest::Part;

use crate::kit::Kit;

const AGREEING: [&str; 6] = ["anna", "bert", "cara", "dina", "emil", "fred"];

async fn handles(kit: &Kit, run: &domain::RunId) -> BTreeSet<String> {
    kit.lineage(run).await.subjects.into_iter().map(|s| s.handle).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_agrees_is_learnt_from_and_nobody_is_on_both_sides() {
    let kit = Kit::new().await;
    kit.people(&AGREEING).await;
    // Crops of theirs are there, by whatever mistake.
    kit.enrol("never-asked", &kit.consent("never-asked", false, "doors"), 3).await;
    kit.enrol("payroll-alone", &kit.consent("payroll-alone", true, "payroll"), 3).await;
    let leaves = kit.consent("withdrawn", true, "doors");
    kit.enrol("withdrawn", &leaves, 3).await;
    kit.consents().withdraw(&leaves.id, domain::Timestamp::now()).await.unwrap();
    let again = kit.consent("changed-her-mind", true, "doors");
    kit.enrol("changed-her-mind", &again, 3).await;
    let later = kit.consent("changed-her-mind", false, "doors");
    kit.consents().record(&later).await.unwrap();

    let trainer = kit.trainer();
    let doors = kit.start_for(Some("doors"), &[]).await;
    let record = kit.end(&doors).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.failure);
    let expected: BTreeSet<String> = AGREEING.iter().map(|n| kit.handle(n)).collect();
    assert_eq!(handles(&kit, &doors).await, expected);
    let lineage = kit.lineage(&doors).await;
    assert!(lineage.subjects.iter().all(|s| s.consents.len() == 1 && s.crops.iter().all(|c| c.sha256.len() == 64)));
    assert!(lineage.subjects.iter().any(|s| s.part == Part::HeldOut));
    assert_eq!(lineage.sha256, record.lineage.unwrap().dataset_sha256);
    let text = kit.runs().document(&doors, "lineage").await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(AGREEING.iter().all(|name| !text.contains(name)), "it names somebody");

    // For any purpose of the collection who agreed to another one is in as well.
    let any = kit.start(&[]).await;
    kit.end(&any).await;
    let expected: BTreeSet<String> = expected.into_iter().chain([kit.handle("payroll-alone")]).collect();
    assert_eq!(handles(&kit, &any).await, expected);
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_it_learns_is_left_out_from_the_beginning() {
    let kit = Kit::new().await;
    kit.people(&AGREEING).await;
    let leaves = kit.consent("leaves", true, "doors");
    kit.enrol("leaves", &leaves, 3).await;
    kit.hold(8);
    let run = kit.start(&[]).await;
    let trainer = kit.trainer();
    kit.reaches(8).await;
    assert!(handles(&kit, &run).await.contains(&kit.handle("leaves")));
    let before = kit.record(&run).await;
    assert!(before.checkpoint.is_some());
    kit.consents().withdraw(&leaves.id, domain::Timestamp::now()).await.unwrap();
    kit.hold(0);
    let record = kit.end(&run).await;
    assert_eq!((record.state, record.restarts), (RunState::Done, 1), "{:?}", record.failure);
    assert!(!handles(&kit, &run).await.contains(&kit.handle("leaves")));
    assert_ne!(record.lineage.unwrap().dataset_sha256, before.lineage.unwrap().dataset_sha256);

    // The same weights as if they had never been in it.
    let fresh = kit.start(&[]).await;
    kit.end(&fresh).await;
    let taken = kit.taken.0.lock().unwrap().clone();
    assert_eq!(taken[0].1, taken[1].1);
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_after_the_last_checkpoint_is_not_in_the_candidate() {
    let kit = Kit::new().await;
    kit.people(&AGREEING).await;
    kit.people(&["leaves"]).await;
    // The last checkpoint is of step 20, which is looked at as well; at its beginning nobody has left.
    kit.hold(20);
    let run = kit.start(&[]).await;
    let trainer = kit.trainer();
    kit.reaches(20).await;
    kit.subjects().delete_subject(&"leaves".parse().unwrap(), None, domain::Timestamp::now()).await.unwrap();
    kit.hold(0);
    let record = kit.end(&run).await;
    assert_eq!((record.state, record.restarts), (RunState::Done, 1), "{:?}", record.failure);
    assert!(!handles(&kit, &run).await.contains(&kit.handle("leaves")));
    assert_eq!(kit.taken.0.lock().unwrap().len(), 1, "nothing was registered of them");
    trainer.kill();
}
