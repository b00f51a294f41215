//! `visavis eval verification` on a few labelled pairs, where the evaluation pictures are present.

use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_report_of_a_few_pairs_and_a_picture_without_a_face() {
    let shared = std::env::var_os("VISAVIS_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let images = shared.join("data/lfw-view1");
    let Ok(all) = std::fs::read_to_string(images.join("pairsDevTest.csv")) else {
        eprintln!("SKIPPED: no evaluation pictures at {}", images.display());
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (same, other): (Vec<&str>, Vec<&str>) = all.lines().skip(1).partition(|l| l.ends_with(",1"));
    let pairs = |from: usize| [&same[from..from + 12], &other[from..from + 12]].concat().join("\n");
    // An absolute name beside the folder: a file that is no picture, hence a failure to enrol.
    let broken = work.path().join("broken.jpg");
    std::fs::write(&broken, "no picture").unwrap();
    let test = format!("left,right,same\n{}\n{},{},1\n", pairs(0), broken.display(), broken.display());
    let (test_file, train_file) = (work.path().join("test.csv"), work.path().join("train.csv"));
    std::fs::write(&test_file, test).unwrap();
    std::fs::write(&train_file, format!("left,right,same\n{}\n", pairs(20))).unwrap();

    let out = work.path().join("report.json");
    let output = Command::new(env!("CARGO_BIN_EXE_visavis"))
        .args(["eval", "verification", "--pairs"])
        .arg(&test_file)
        .arg("--images")
        .arg(&images)
        .arg("--threshold-from")
        .arg(&train_file)
        .arg("--json")
        .arg(&out)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("chosen on train.csv") && table.contains("images/s"), "{table}");

    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let report = &json["report"];
    assert_eq!(report["pairs"], 25);
    // The broken pair is an error; the others are easy.
    assert_eq!(report["accuracy"]["correct"], 24, "{report}");
    assert_eq!(report["accuracy"]["threshold_origin"], "other_pairs");
    assert_eq!(report["failures"]["failed_samples"], 1);
    assert_eq!(json["failures"][0]["reason"].as_str().map(|r| r.starts_with("no_face")), Some(false), "{json}");
}
