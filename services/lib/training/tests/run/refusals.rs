//! What cannot be trained is told in a sentence, and leaves what was there as it was.

use std::fs;

use domain::ErrorCode;
use visavis_training::TrainingError;

use super::{Heard, People, finished, people, recipe, run};

fn refused(settings: &[&str], people: &People) -> TrainingError {
    let folder = tempfile::tempdir().unwrap();
    run(&recipe(settings), people, folder.path(), &mut Heard::default()).unwrap_err()
}

#[test]
fn too_little_to_learn_from() {
    let mut torn = people();
    torn.broken = (0..252).collect();
    let cases = [
        (People::new(0, 8), "no photo of anybody"),
        (People::new(1, 8), "there are 1"),
        (People::new(9, 8), "14 are needed"),
        (torn, "none of the 252 photos can be used; the first one: it is torn"),
    ];
    for (people, what) in cases {
        let error = refused(&[], &people);
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["optimiser.learning_rate=1e30", "optimiser.warmup=0.5", "optimiser.clip=0"];
    let error = run(&recipe(&settings), &people(), folder.path(), &mut Heard::default()).unwrap_err();
    assert!(matches!(error, TrainingError::Diverged { .. }) && error.to_string().contains("learning_rate"), "{error}");
    assert!(folder.path().join("best.bin").is_file() && !folder.path().join("model").exists());
    let again = run(&recipe(&settings), &people(), folder.path(), &mut Heard::default()).unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "it goes on to the same step");
}

#[test]
fn a_folder_is_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let model = finished(&recipe(&["epochs=1"]), &people(), folder.path());
    let other = |settings: &[&str], people: &People| {
        run(&recipe(settings), people, folder.path(), &mut Heard::default()).unwrap_err().to_string()
    };
    assert!(other(&["epochs=2"], &people()).contains("its recipe was another one"));
    assert!(other(&["epochs=1"], &People::new(42, 5)).contains("its photos were others"));
    assert!(fs::read(folder.path().join("model/model.onnx")).unwrap() == model);
    fs::write(folder.path().join("checkpoint.bin"), "half").unwrap();
    assert!(other(&["epochs=1"], &people()).contains("damaged"));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = run(&recipe(&[]), &people(), &file.join("run"), &mut Heard::default()).unwrap_err().to_string();
    assert!(error.contains("file/run") && error.contains("written"), "{error}");
}
