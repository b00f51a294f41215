//! `visavis eval verification`: reports whose figures can be worked out again from the scores they list.

use std::fs;

use serde_json::Value;

use super::{Photos, assert_names_no_folder, eval, evaluated, file, json, lfw, text_of};

/// Nine photos of three people: all 36 pairs, and two with a picture that has no face.
fn all_pairs() -> String {
    let photos: Vec<(&str, usize)> =
        ["astronaut", "biden", "obama"].iter().flat_map(|p| (0..3).map(move |i| (*p, i))).collect();
    let mut text = "left,right,same,fold,cohort\n".to_owned();
    for (i, (a, n)) in photos.iter().enumerate() {
        for (b, m) in &photos[..i] {
            let cohort = if *a == "astronaut" || *b == "astronaut" { "women" } else { "men" };
            text += &format!("{a}/{n}.png,{b}/{m}.png,{},{},{cohort}\n", u8::from(a == b), i % 3);
        }
    }
    text + "empty.png,obama/0.png,1,0,men\nempty.png,biden/0.png,0,1,men\n"
}

/// Scores of the worst pairs of a kind.
fn scores(report: &Value, kind: &str) -> Vec<f64> {
    report["worst"][kind].as_array().unwrap().iter().map(|p| p["score"].as_f64().unwrap()).collect()
}

#[test]
fn a_report_of_nine_photos_by_hand() {
    let photos = Photos::new();
    let pairs = file(photos.path(), "pairs.csv", &all_pairs());
    let out = photos.path().join("out");
    let images = text_of(photos.path());
    let said = evaluated(&["verification", "--pairs", &pairs, "--images", &images, "--report", &text_of(&out)]);
    assert!(said.contains("standard error of 3 folds") && said.contains("report.html"), "{said}");

    let r = json(&out.join("report.json"));
    assert_eq!(r["schema"], "visavis.eval.verification/1");
    assert_eq!((&r["report"]["pairs"], &r["report"]["mated_scores"]["count"]), (&38.into(), &9.into()));
    // Nine mated pairs have a score, and all are among the worst twelve; one without counts as a miss.
    let (mated, non_mated) = (scores(&r, "mated"), scores(&r, "non_mated"));
    assert_eq!((mated.len(), non_mated.len()), (9, 12));
    assert!(mated.is_sorted() && non_mated.is_sorted_by(|a, b| a >= b));
    assert!(mated[0] > non_mated[0], "three people are told apart: {mated:?} {non_mated:?}");
    // A mated pair without a score loses against all 27 non-mated ones: 9 of 10 are won.
    let value = |path: &str| r.pointer(path).and_then(Value::as_f64).unwrap();
    assert!((value("/report/auc/value") - 0.9).abs() < 1e-9);
    assert!((value("/report/accuracy/fnmr/value") - 0.1).abs() < 1e-9 && value("/report/accuracy/fmr/value") == 0.0);
    let threshold = value("/report/accuracy/threshold");
    assert!(threshold > non_mated[0] && threshold < mated[0]);
    assert_eq!(r["report"]["accuracy"]["correct"], 36, "both pairs without a face are errors");
    let folds = r["folds"]["folds"].as_array().unwrap();
    let accuracy = |f: &Value| f["accuracy"].as_f64().unwrap();
    let mean = folds.iter().map(accuracy).sum::<f64>() / 3.0;
    assert!(folds.len() == 3 && (value("/folds/accuracy") - mean).abs() < 1e-12);
    assert_eq!(
        r["protocol"]["subjects"].as_str().unwrap(),
        "Who is in a picture is not known.",
        "empty.png lies in no folder"
    );
    let cohorts = r["cohorts"]["rows"].as_array().unwrap();
    assert_eq!((cohorts[0]["cohort"].as_str(), cohorts[1]["mated"].as_u64()), (Some("men"), Some(3)));
    assert!((cohorts[0]["fnmr"]["value"].as_f64().unwrap() - 1.0 / 7.0).abs() < 1e-9, "the missing face is a man's");
    assert_eq!(r["failures"][0]["image"], "empty.png");

    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert_eq!(page.matches("data:image/png;base64,").count(), 2 * 21);
    for part in ["This file holds 42 pictures of faces", "By cohort", "empty.png", "ROC", "DET", "36"] {
        assert!(page.contains(part), "{part}");
    }
    assert_names_no_folder(&out, &[photos.path()]);
}

#[test]
fn faces_stay_out_and_another_run_is_drawn_beside() {
    let photos = Photos::new();
    let pairs = file(photos.path(), "pairs.csv", &all_pairs());
    let (out, images) = (photos.path().join("a.html"), text_of(photos.path()));
    let common = ["verification", "--pairs", &pairs, "--images", &images, "--no-thumbnails", "--report"];
    evaluated(&[&common[..], &[&text_of(&out)]].concat());
    let first = fs::read_to_string(&out).unwrap();
    assert!(!first.contains("data:image") && first.contains("no pictures of faces") && !first.contains("curve other"));
    let other = text_of(&photos.path().join("a.json"));
    let beside = photos.path().join("b.html");
    evaluated(&[&common[..], &[&text_of(&beside), "--compare", &other]].concat());
    let second = fs::read_to_string(beside).unwrap();
    assert!(second.contains("compared: a.json") && second.contains("curve other"));

    // What is compared with must be of the same kind.
    let wrong = file(photos.path(), "wrong.json", "{\"schema\": \"visavis.eval.identification/1\"}");
    let output = eval(&[&common[..], &[&text_of(&out), "--compare", &wrong]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64));
    assert!(said.contains("wrong.json") && said.contains("visavis.eval.identification/1"), "{said}");
}

#[test]
fn pairs_of_lfw_with_folds_and_a_picture_outside_the_folder() {
    let Some(images) = lfw() else { return };
    let all = fs::read_to_string(images.join("pairsDevTest.csv")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (same, other): (Vec<&str>, Vec<&str>) = all.lines().skip(1).partition(|l| l.ends_with(",1"));
    let pairs = |from: usize| [&same[from..from + 12], &other[from..from + 12]].concat().join("\n");
    // An absolute name beside the folder: a file that is no picture, hence a failure to enrol.
    let broken = file(work.path(), "broken.jpg", "no picture");
    let test = file(work.path(), "test.csv", &format!("left,right,same\n{}\n{broken},{broken},1\n", pairs(0)));
    let train = file(work.path(), "train.csv", &format!("left,right,same\n{}\n", pairs(20)));
    let (folder, out) = (text_of(&images), work.path().join("out"));
    let args = ["verification", "--pairs", &test, "--images", &folder, "--threshold-from", &train, "--report"];
    let table = evaluated(&[&args[..], &[&text_of(&out)]].concat());
    assert!(table.contains("chosen on train.csv") && table.contains("images/s"), "{table}");
    let r = json(&out.join("report.json"));
    let report = &r["report"];
    assert_eq!(report["pairs"], 25);
    // The broken pair is an error; the others are easy.
    assert_eq!(report["accuracy"]["correct"], 24, "{report}");
    assert_eq!(report["accuracy"]["threshold_origin"], "other_pairs");
    assert_eq!(report["failures"]["failed_samples"], 1);
    assert_eq!(r["failures"][0]["image"], "(elsewhere) broken.jpg");
    assert_names_no_folder(&out, &[work.path(), &images]);

    // The same pairs in the form of LFW, in two folds.
    let lfw_line = |line: &str| {
        let picture = |cell: &str| {
            let (name, number) = cell.split_once('/').unwrap().1.trim_end_matches(".jpg").rsplit_once('_').unwrap();
            format!("{name}\t{}", number.parse::<u32>().unwrap())
        };
        let cells: Vec<&str> = line.split(',').collect();
        let (left, right) = (picture(cells[0]), picture(cells[1]));
        let right = if cells[2] == "1" { right.split('\t').nth(1).unwrap() } else { &right };
        format!("{left}\t{right}\n")
    };
    let mut text = "2\t6\n".to_owned();
    for fold in 0..2 {
        let part = |of: &[&str]| of[6 * fold..6 * fold + 6].iter().map(|l| lfw_line(l)).collect::<String>();
        text += &(part(&same) + &part(&other));
    }
    let list = file(work.path(), "pairs.txt", &text);
    let json_file = work.path().join("folds.json");
    let table = evaluated(&["verification", "--pairs", &list, "--images", &folder, "--json", &text_of(&json_file)]);
    assert!(table.contains("(mean ± standard error of 2 folds)"), "{table}");
    let r = json(&json_file);
    assert_eq!(r["folds"]["accuracy"], 1.0, "{}", r["folds"]);
    assert_eq!(r["report"]["unit"], "subject", "the list names the people: {}", r["protocol"]);
}

#[test]
fn labels_say_who_is_who_and_of_which_cohort() {
    let photos = Photos::new();
    let people = ["astronaut", "biden", "obama"];
    let names = || people.iter().flat_map(|p| (0..3).map(move |i| (*p, format!("{p}/{i}.png"))));
    let cohort = |p: &str| if p == "astronaut" { "women" } else { "men" };
    let labels: String = names().map(|(p, image)| format!("{image},{p},{}\n", cohort(p))).collect();
    let labels = file(photos.path(), "labels.csv", &format!("image,subject,cohort\n{labels}"));
    let mut pairs = "left,right,same\n".to_owned();
    let all: Vec<(&str, String)> = names().collect();
    for (i, (p, left)) in all.iter().enumerate() {
        for (q, right) in &all[..i] {
            pairs += &format!("{left},{right},{}\n", u8::from(p == q));
        }
    }
    let pairs = file(photos.path(), "pairs.csv", &pairs);
    let (images, to) = (text_of(photos.path()), photos.path().join("r.json"));
    let args = ["verification", "--pairs", &pairs, "--images", &images, "--labels", &labels, "--json", &text_of(&to)];
    let said = evaluated(&args);
    assert!(said.contains("cohort    men: FNMR 0.00 %"), "{said}");
    let r = json(&to);
    assert!(r["protocol"]["subjects"].as_str().unwrap().contains("from the labels"), "{}", r["protocol"]);
    let rows = r["cohorts"]["rows"].as_array().unwrap();
    let counts =
        |i: usize| (rows[i]["cohort"].as_str().unwrap(), rows[i]["mated"].as_u64(), rows[i]["non_mated"].as_u64());
    // Two men with three photos each: three pairs of one of them each, and nine of both. One woman: no stranger of
    // hers.
    assert_eq!((counts(0), counts(1)), (("men", Some(6), Some(9)), ("women", Some(3), Some(0))));
    assert_eq!((&r["cohorts"]["left_out"], rows[1]["fmr"].is_null()), (&18.into(), true));
    // No error in six pairs of men does not mean that there is none: 1 − 0.025^(1/2), two people being drawn.
    let high = rows[0]["fnmr"]["interval"]["high"].as_f64().unwrap();
    assert!((high - (1.0 - 0.025f64.sqrt())).abs() < 1e-9, "{high}");
}
