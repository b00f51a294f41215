//! Runs that outlive their trainers, are cancelled, or are sent for twice.

use std::{fs, sync::atomic::Ordering, time::Duration};

use domain::{JobId, Lane, RunState, Timestamp};
use memchr::memmem;
use store::Audit;

use crate::{
    kit::{BASE, Kit},
    standin::weights,
};

const PEOPLE: [&str; 8] = ["anna", "bert", "cara", "dina", "emil", "fred", "gina", "hugo"];

/// The model that a run came to.
fn model_of(kit: &Kit, run: &domain::RunId) -> Vec<u8> {
    let taken = kit.taken.0.lock().unwrap();
    let of: Vec<_> = taken.iter().filter(|(id, ..)| id == run).collect();
    assert_eq!(of.len(), 1, "registered once");
    of[0].1.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_comes_to_a_candidate_with_lineage_measures_and_a_report() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let run = kit.start(&[]).await;
    let trainer = kit.trainer();
    let record = kit.end(&run).await;
    assert_eq!((record.state, record.failure), (RunState::Done, None));
    assert_eq!(record.model, Some(format!("candidate-of-{run}")));
    assert!(record.started_at.unwrap() <= record.ended_at.unwrap());
    assert_eq!(record.progress.map(|p| (p.step, p.steps)).unwrap().1, 20);
    let lineage = record.lineage.unwrap();
    assert_eq!(lineage.subjects + lineage.held_out_subjects, 8);
    assert!(lineage.held_out_subjects >= 2 && lineage.crops == 3 * lineage.subjects);
    assert_ne!(weights(&model_of(&kit, &run)), BASE, "it learnt");
    let (_, _, told) = kit.taken.0.lock().unwrap()[0].clone();
    assert_eq!(told["trained_on"]["staff"].as_array().unwrap().len(), lineage.subjects as usize, "{told}");
    assert_eq!(told["held_out"]["staff"].as_array().unwrap().len(), lineage.held_out_subjects as usize);
    // Of so few people nothing can be said.
    assert!(told["score_tables"].as_str().unwrap().contains("at least"), "{told}");
    assert_eq!(told["dataset_sha256"], lineage.dataset_sha256.as_str());
    let text = kit.runs().document(&run, "evaluation").await.unwrap().unwrap();
    let evaluation: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert!(evaluation["parity"].as_f64().unwrap() <= 1e-4);
    assert_eq!(evaluation["measured"]["subjects"], lineage.held_out_subjects);
    let page = kit.runs().document(&run, "report.html").await.unwrap().unwrap();
    let page = String::from_utf8_lossy(&page);
    for told in ["Before and after", "Learning rate", &lineage.dataset_sha256, "CC0-1.0"] {
        assert!(page.contains(told), "{told}");
    }
    kit.cleared().await;
    let told = || async {
        let head = Audit::new(kit.store.clone(), &kit.tenant).head().await.unwrap();
        (head.seq == 1).then_some(())
    };
    kit.when(told, "its end is not in the trail").await;
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_has_a_score_table_of_its_own_where_people_enough_are_held_out() {
    let kit = Kit::new().await;
    let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
    kit.people(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let run = kit.start(&[]).await;
    let trainer = kit.trainer();
    assert_eq!(kit.end(&run).await.state, RunState::Done);
    let tables = kit.taken.1.lock().unwrap().clone();
    let [(detector, table)] = &tables[..] else { panic!("{tables:?}") };
    assert_eq!((detector.as_str(), table.id()), ("yunet", format!("strangers+{run}").as_str()));
    assert_eq!(kit.taken.0.lock().unwrap()[0].2["score_tables"], serde_json::json!([table.id()]));
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_twice_ends_with_the_same_weights_and_lies_nowhere_in_the_clear() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    let whole = kit.start(&[]).await;
    let trainer = kit.trainer();
    kit.end(&whole).await;
    // The record says that it has ended before its trainer clears up.
    kit.cleared().await;
    trainer.kill();

    kit.hold(8);
    let run = kit.start(&[]).await;
    let first = kit.trainer();
    kit.reaches(8).await;
    assert_eq!(kit.kept().len(), 1, "the checkpoint of step 5");
    for file in kit.files() {
        let bytes = fs::read(&file).unwrap();
        for plain in [&b"\x89PNG\r\n\x1a\n"[..], b"[5,["] {
            assert!(memmem::find(&bytes, plain).is_none(), "in the clear in {}", file.display());
        }
    }
    first.kill();
    kit.hold(13);
    let second = kit.trainer();
    kit.reaches(13).await;
    second.kill();
    kit.hold(0);
    let third = kit.trainer();
    let record = kit.end(&run).await;
    assert_eq!((record.state, record.resumes), (RunState::Done, 2));
    assert_eq!(model_of(&kit, &run), model_of(&kit, &whole), "the same bytes");
    third.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_is_told_to_stop_leaves_the_run_to_the_next() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    kit.hold(7);
    let run = kit.start(&[]).await;
    let first = kit.trainer();
    kit.reaches(7).await;
    first.terminate();
    let given_back = || async { (kit.queue.depth(Lane::Train).await.unwrap().in_flight == 0).then_some(()) };
    kit.when(given_back, "the run was not given back").await;
    let record = kit.record(&run).await;
    assert_eq!((record.state, record.fruitless), (RunState::Training, 0), "stopping is no failure");
    kit.hold(0);
    let second = kit.trainer();
    assert_eq!(kit.end(&run).await.state, RunState::Done);
    second.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_stops_at_its_step() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    kit.hold(8);
    let run = kit.start(&[]).await;
    let trainer = kit.trainer();
    kit.reaches(8).await;
    kit.runs().cancel(&run, Timestamp::now()).await.unwrap();
    kit.queue.cancel(&JobId::new(run.as_str()).unwrap()).await.unwrap();
    let stopped = || async { (kit.held.stopped.load(Ordering::SeqCst) == 8).then_some(()) };
    kit.when(stopped, "it goes on").await;
    let settled = || async {
        let depth = kit.queue.depth(Lane::Train).await.unwrap();
        (depth.in_flight + depth.waiting == 0 && kit.kept().is_empty()).then_some(())
    };
    kit.when(settled, "something of it is left").await;
    assert_eq!(kit.record(&run).await.state, RunState::Cancelled);
    assert!(kit.taken.0.lock().unwrap().is_empty());
    // The trainer goes on to the next.
    kit.hold(0);
    let next = kit.start(&[]).await;
    assert_eq!(kit.end(&next).await.state, RunState::Done);
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_no_trainer_gets_any_further_with_is_given_up_and_one_that_gets_further_is_not() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    // Killed five times, each time after another checkpoint: 5, 10, 15 and none.
    let run = kit.start(&[]).await;
    for step in [6, 11, 16, 17] {
        kit.hold(step);
        let trainer = kit.trainer();
        kit.reaches(step).await;
        trainer.kill();
    }
    kit.hold(0);
    let last = kit.trainer();
    let record = kit.end(&run).await;
    assert_eq!((record.state, record.resumes), (RunState::Done, 4), "{:?}", record.failure);
    last.kill();
    kit.taken.0.lock().unwrap().clear();

    let stuck = kit.start(&[]).await;
    kit.hold(2);
    for _ in 0..3 {
        kit.held.reached.store(0, Ordering::SeqCst);
        let trainer = kit.trainer();
        kit.reaches(2).await;
        trainer.kill();
    }
    let trainer = kit.trainer();
    kit.failed(&stuck, "gave_up").await;
    let buried = || async { (kit.queue.depth(Lane::Train).await.unwrap().dead == 1).then_some(()) };
    kit.when(buried, "no dead letter").await;
    trainer.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_sent_for_twice_is_carried_out_once() {
    let kit = Kit::new().await;
    kit.people(&PEOPLE).await;
    kit.hold(8);
    let run = kit.start(&[]).await;
    let first = kit.trainer();
    kit.reaches(8).await;
    kit.send(&run).await;
    let second = kit.trainer();
    let taken_over = || async { (kit.record(&run).await.resumes == 1).then_some(()) };
    kit.when(taken_over, "the second trainer does not take it up").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    kit.hold(0);
    assert_eq!(kit.end(&run).await.state, RunState::Done);
    let settled = || async {
        let depth = kit.queue.depth(Lane::Train).await.unwrap();
        (depth.in_flight + depth.waiting == 0).then_some(())
    };
    kit.when(settled, "an envelope is left").await;
    drop(model_of(&kit, &run));
    first.kill();
    second.kill();
}
