//! A run that is stopped or killed goes on where it was and ends with the same bytes.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use visavis_training::Outcome;

use super::{Heard, finished, people, recipe, run};

const SETTINGS: [&str; 5] =
    ["epochs=3", "validation.every=1", "regularise.ema=0.5", "loss.prototypes=centres", "distill.features=0.5"];

/// What a whole run tells, and the model it ends with.
fn whole(settings: &[&str]) -> (Heard, Vec<u8>) {
    let (folder, mut heard) = (tempfile::tempdir().unwrap(), Heard::default());
    let Outcome::Finished(f) = run(&recipe(settings), &people(), folder.path(), &mut heard).unwrap() else { panic!() };
    (heard, fs::read(f.model).unwrap())
}

#[test]
fn stopped_anywhere_it_goes_on_to_the_same_model() {
    let (Heard { events, .. }, model) = whole(&SETTINGS);
    assert!(events > 40, "{events}");
    let began = onnx::encode(&crate::linear::model(3));
    assert!(model != began, "a run that learned nothing shows nothing");
    for at in (1..=events).step_by(events / 6) {
        let folder = tempfile::tempdir().unwrap();
        let stopped =
            run(&recipe(&SETTINGS), &people(), folder.path(), &mut Heard { stop_at: Some(at), ..Heard::default() });
        if at < events {
            assert!(matches!(stopped.unwrap(), Outcome::Stopped { .. }), "at event {at}");
        }
        assert!(finished(&recipe(&SETTINGS), &people(), folder.path()) == model, "stopped at event {at} of {events}");
    }
}

#[test]
fn killed_twice_it_goes_on_to_the_same_model_and_tells_each_step_once() {
    for seconds in ["checkpoint.seconds=0", "checkpoint.seconds=3600"] {
        for method in ["method=full", "method=head"] {
            let settings = [&SETTINGS[..], &[seconds, method]].concat();
            let (Heard { events, .. }, model) = whole(&settings);
            let folder = tempfile::tempdir().unwrap();
            for at in [events / 3, events / 2] {
                let mut heard = Heard { die_at: Some(at), ..Heard::default() };
                let died =
                    catch_unwind(AssertUnwindSafe(|| run(&recipe(&settings), &people(), folder.path(), &mut heard)));
                assert!(died.is_err(), "{settings:?}: it was to die at event {at} of {events}");
            }
            assert!(finished(&recipe(&settings), &people(), folder.path()) == model, "{settings:?}");
            let lines = fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
            let steps: Vec<&str> = lines.lines().filter(|l| l.starts_with("{\"step\"")).collect();
            assert!((1..=steps.len()).all(|i| steps[i - 1].contains(&format!("\"step\":{i},"))), "{lines}");
        }
    }
}

#[test]
fn a_finished_run_is_not_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let model = finished(&recipe(&SETTINGS), &people(), folder.path());
    let mut heard = Heard::default();
    run(&recipe(&SETTINGS), &people(), folder.path(), &mut heard).unwrap();
    assert!(heard.losses.is_empty() && fs::read(folder.path().join("model/model.onnx")).unwrap() == model);
}

#[test]
fn what_is_made_anew_may_be_missing() {
    let settings = [&SETTINGS[..], &["method=head", "head.views=2"]].concat();
    let (all, model) = whole(&settings);
    let folder = tempfile::tempdir().unwrap();
    let half = all.steps.len() / 2;
    let mut heard = Heard { stop_at: Some(all.steps[half]), ..Heard::default() };
    assert!(matches!(run(&recipe(&settings), &people(), folder.path(), &mut heard), Ok(Outcome::Stopped { .. })));
    let names = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let (anew, kept): (Vec<_>, Vec<_>) = names.partition(|n| visavis_training::is_made_anew(n));
    assert!(anew.len() == 1 && kept.iter().any(|n| n == "checkpoint.bin"), "{anew:?} {kept:?}");
    fs::remove_file(folder.path().join(&anew[0])).unwrap();
    let mut again = Heard::default();
    let done = run(&recipe(&settings), &people(), folder.path(), &mut again).unwrap();
    assert_eq!([&heard.losses[..], &again.losses].concat(), all.losses, "it did not go on where it was");
    let Outcome::Finished(done) = done else { panic!() };
    assert!(fs::read(done.model).unwrap() == model);
}
