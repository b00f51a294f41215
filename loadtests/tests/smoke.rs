//! The load test as a person runs it: a few seconds against a cluster of its own, its exit code, its files.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

fn loadtest(arguments: &[&str], out: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(arguments)
        .env("VISAVIS_BIN", testkit::binary())
        .current_dir(out)
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].map(|s| String::from_utf8_lossy(&s).into_owned()).concat();
    (output.status.code().expect("it ends by itself"), said)
}

#[test]
fn a_smoke_run_holds_its_objectives_and_leaves_a_document_and_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let (status, said) = loadtest(&["run", "smoke", "--out", "out"], folder.path());
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("holds  all.answered_share ≥ 1: 1.000"), "{said}");
    let json = fs::read_to_string(folder.path().join("out/smoke.json")).expect("a document");
    let document: Value = serde_json::from_str(&json).expect("JSON");
    // Five seconds of five requests, of which the first second is not measured.
    assert_eq!(document["measures"]["all.offered"], 20.0, "{json}");
    let processes: Vec<_> = document["memory"].as_array().expect("memory").iter().map(|s| &s["process"]).collect();
    assert_eq!(processes, ["gateway 0", "gateway 1", "nginx", "redis", "worker 0"]);
    assert!(document["answers"]["422 image_undecodable"].as_u64() > Some(0), "{}", document["answers"]);
    let page = fs::read_to_string(folder.path().join("out/smoke.html")).expect("a page");
    assert_eq!(page.matches("<svg").count(), 4, "times, rates, percentiles, memory");
    assert!(!page.contains("NaN") && !page.contains("<script"), "{page}");

    // The same run against objectives it cannot hold, against itself, and what is none at all.
    let strict = folder.path().join("strict.toml");
    fs::write(&strict, "about = \"\"\n[most]\n\"all.p50_ms\" = 0.001\n").expect("written");
    let run = folder.path().join("out/smoke.json");
    let (run, strict) = (run.to_str().expect("a path"), strict.to_str().expect("a path"));
    let (status, said) = loadtest(&["judge", run, strict], folder.path());
    assert_eq!((status, said.contains("BROKEN all.p50_ms")), (1, true), "{said}");
    let (status, said) = loadtest(&["compare", run, run], folder.path());
    assert_eq!((status, said.contains("1.00 times as bad")), (0, true), "{said}");
    let (status, said) = loadtest(&["run", "nowhere"], folder.path());
    assert_eq!((status, said.contains("nowhere.toml")), (2, true), "{said}");
}

/// `cargo test --workspace --test smoke promoted -- --ignored`
#[test]
#[ignore = "half a minute; the same is part of the scenario chaos"]
fn a_model_is_promoted_under_load_and_nobody_is_told_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = r#"
        about = "a promotion"
        slo = "chaos"
        enrolled = 12
        connections = 2
        deadline_ms = 30000
        mix = { identify = 50, verify = 20, enrol = 30 }
        cluster = { gateways = 2, workers = 1 }
        stages = [{ seconds = 30, rate = 3 }]
        events = [{ at_seconds = 2, action = "promote_model" }]
    "#;
    fs::write(folder.path().join("promotion.toml"), scenario).expect("written");
    let (status, said) = loadtest(&["run", "promotion.toml", "--out", "out"], folder.path());
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("the model load-changed answers"), "{said}");
    assert!(said.contains("holds  promotion.errors ≤ 0: 0.000"), "{said}");
}
