//! Verification of pairs from Labeled Faces in the Wild, View 1: a small part always, the whole on request.

use std::{collections::HashMap, fs, path::Path, process::Command};

use serde_json::Value;
use testkit::{Row, binary, read_csv, shared_or_skip};

use crate::{cosine, pipeline::Models};

/// Pairs of each kind in the small part: every so many rows of the list.
const EVERY: usize = 7;
/// Threshold that the reference pipeline found on DevTrain.
const THRESHOLD: f64 = 0.367;

async fn embedding(models: &Models, folder: &Path, name: &str) -> Option<Vec<f32>> {
    let bytes = fs::read(folder.join(name)).expect("a picture of the list");
    models.analyse(bytes.into(), 1).await.faces.first().map(|f| f.template.to_f32())
}

#[tokio::test]
async fn a_part_of_the_pairs_is_told_apart() {
    let Some(folder) = shared_or_skip("data/lfw-view1") else { return };
    let models = Models::with("sface").await;
    let rows: Vec<Row> = read_csv(&folder.join("pairsDevTest.csv")).into_iter().step_by(EVERY).collect();
    let mut seen: HashMap<String, Option<Vec<f32>>> = HashMap::new();
    for name in rows.iter().flat_map(|r| [&r["left"], &r["right"]]) {
        if !seen.contains_key(name) {
            seen.insert(name.clone(), embedding(&models, &folder, name).await);
        }
    }
    let right = rows.iter().filter(|r| {
        let score = match (&seen[&r["left"]], &seen[&r["right"]]) {
            (Some(a), Some(b)) => cosine(a, b),
            _ => -1.0,
        };
        (score >= THRESHOLD) == matches!(r["same"].as_str(), "1" | "true" | "True")
    });
    let (right, all) = (right.count(), rows.len());
    eprintln!("pairs: {right} of {all} right at {THRESHOLD}");
    assert!(all >= 140 && right * 100 >= all * 97, "{right} of {all}");
}

/// About 5,000 photos: run with `cargo test --release -p visavis-tests --test accuracy -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn the_whole_development_set_reaches_99_percent() {
    let Some(folder) = shared_or_skip("data/lfw-view1") else { return };
    let out = tempfile::tempdir().expect("a folder");
    let report = out.path().join("report.json");
    let done = Command::new(binary())
        .args(["eval", "verification", "--pairs"])
        .arg(folder.join("pairsDevTest.csv"))
        .arg("--threshold-from")
        .arg(folder.join("pairsDevTrain.csv"))
        .arg("--images")
        .arg(&folder)
        .arg("--json")
        .arg(&report)
        .env("VISAVIS__MODELS__CACHE_DIR", testkit::cache_dir())
        .status()
        .expect("the binary runs");
    assert!(done.success());
    let json: Value = serde_json::from_slice(&fs::read(report).expect("a report")).expect("JSON");
    let accuracy = json["report"]["accuracy"]["value"].as_f64().expect("an accuracy");
    assert!(accuracy >= 0.99, "{json}");
}
