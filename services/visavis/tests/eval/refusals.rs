//! What `visavis eval` refuses before it looks at a picture: each with the file and the line.

use super::{Photos, eval, file, text_of};

/// The command ends with 64 and says all of this.
fn refused(args: &[&str], said: &[&str]) {
    let output = eval(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{args:?}: {error}");
    for part in said {
        assert!(error.contains(part), "{args:?}: {part} is not in {error}");
    }
}

#[test]
fn lists_of_pairs() {
    let photos = Photos::new();
    let images = text_of(photos.path());
    let with = |text: &str, more: &[&str], said: &[&str]| {
        let pairs = file(photos.path(), "pairs.csv", text);
        refused(&[&["verification", "--pairs", &pairs, "--images", &images], more].concat(), said);
    };
    with("left,right\na,b\n", &[], &["pairs.csv line 1", "the column `same` is missing"]);
    with("left,right,same\nobama/0.png,nobody/0.png,0\n", &[], &["nobody/0.png is missing"]);
    with("left,right,same,fold\nobama/0.png,obama/1.png,1,\n", &[], &["pairs.csv line 2", "the fold is empty"]);
    with("left,right,same,fold\nobama/0.png,obama/1.png,1,7\n", &[], &["pairs.csv line 2", "two folds at least"]);
    let folds = "left,right,same,fold\nobama/0.png,obama/1.png,1,7\nobama/0.png,biden/1.png,0,8\n";
    let train = file(photos.path(), "train.csv", "left,right,same\nobama/0.png,obama/1.png,1\n");
    with(folds, &["--threshold-from", &train], &["leave out --threshold-from"]);
    let labels = file(photos.path(), "labels.csv", "image,subject\nobama/0.png,a\nobama/1.png,b\n");
    let one = "left,right,same\nobama/0.png,obama/1.png,1\n";
    with(one, &["--labels", &labels], &["pairs.csv line 2", "the labels are a and b"]);
    let labels = file(photos.path(), "labels.csv", "image,cohort\nobama/0.png,a\nobama/0.png,b\n");
    with(one, &["--labels", &labels], &["labels.csv line 3", "labelled in line 2 already"]);
    with(one, &["--no-thumbnails"], &["--report"]);
}

#[test]
fn lists_of_people() {
    let photos = Photos::new();
    let good_probes = "subject,image\nobama,obama/1.png\n";
    let with = |enrol: &str, probes: &str, said: &[&str]| {
        let enrol = file(photos.path(), "enrol.csv", enrol);
        let probes = file(photos.path(), "probes.csv", probes);
        refused(&["identification", "--enrol", &enrol, "--probes", &probes], said);
    };
    with("subject\nobama\n", good_probes, &["enrol.csv line 1", "the column `image` is missing"]);
    with("subject,image\n,obama/0.png\n", good_probes, &["enrol.csv line 2", "the subject is empty"]);
    let twice = "subject,image\nobama,obama/0.png\nbiden,biden/0.png\nbiden,obama/0.png\n";
    with(twice, good_probes, &["enrol.csv line 4", "obama/0.png is listed in line 2 already"]);
    with("subject,image\nobama,obama/9.png\n", good_probes, &["enrol.csv line 2", "obama/9.png is missing"]);
    let enrol = "subject,image\nobama,obama/0.png\n";
    with(enrol, "subject,image\nobama,obama/0.png\n", &["probes.csv line 2", "enrol.csv line 2", "finds itself"]);
    let cohorts = "subject,image,cohort\nobama,obama/0.png,a\nobama,obama/2.png,b\n";
    with(cohorts, good_probes, &["enrol.csv line 3", "another cohort"]);
}

#[test]
fn samples_for_a_calibration() {
    let photos = Photos::new();
    let images = text_of(photos.path());
    refused(&["calibrate"], &["--images"]);
    refused(&["calibrate", "--images", &images], &["needs at least 1000 non-mated scores, but there are 27"]);
    let empty = tempfile::tempdir().unwrap();
    refused(&["calibrate", "--images", &text_of(empty.path())], &["a folder for each person"]);
    let one = file(photos.path(), "labels.csv", "image,subject\nobama/0.png,obama\nobama/1.png,obama\n");
    refused(&["calibrate", "--labels", &one], &["pictures of only one"]);
    let nobody = file(photos.path(), "labels.csv", "image,subject\nobama/0.png,obama\nobama/1.png,\n");
    refused(&["calibrate", "--labels", &nobody], &["labels.csv line 3", "the subject is empty"]);
    let same = file(photos.path(), "same.csv", "subject,other\nobama,ada\n");
    refused(&["calibrate", "--images", &images, "--same-person", &same], &["same.csv line 2", "no pictures of `ada`"]);
}
