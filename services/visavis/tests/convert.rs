//! `visavis convert compreface` as a user meets it: bodies of jobs, and what is wrong with rows. Needs no models.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Output};

fn convert(folder: &Path, rows: &str, more: &[&str]) -> Output {
    std::fs::write(folder.join("rows"), rows).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    command.env_clear().current_dir(folder).args(["convert", "compreface", "rows", "--collection", "staff"]);
    command.args(["--out", "jobs"]).args(more).output().unwrap()
}

const CONSENT: [&str; 4] = ["--purposes", "door,visitors", "--method", "signed_form"];

#[test]
fn rows_become_bodies_of_bulk_jobs_within_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let row = |name: &str, image: &str| format!("{{\"subject\": \"{name}\", \"image\": \"{image}\"}}\n");
    // PostgreSQL breaks base64 into lines.
    let rows =
        [row("Ada L.", "AAAA\\nBBBB"), row("Ada L.", "CCCC"), row("Ada L.", "DDDD"), row("bert", "EEEE")].concat();
    let output = convert(folder.path(), &rows, &[&CONSENT[..], &["--max-images", "2", "--max-bytes", "12"]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("2 people with 3 pictures in 2 bodies") && said.contains("1 pictures left out"), "{said}");
    let body = |n: u32| -> serde_json::Value {
        let path = folder.path().join(format!("jobs/job-000{n}.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let (first, second) = (body(1), body(2));
    let consent = serde_json::json!({"purposes": ["door", "visitors"], "method": "signed_form"});
    assert_eq!((&first["kind"], &first["collection_id"]), (&"bulk_enrol".into(), &"staff".into()));
    let ada = &first["items"][0];
    assert_eq!((&ada["external_id"], &ada["consent"]), (&"Ada L.".into(), &consent));
    assert_eq!(ada["images"], serde_json::json!([{"b64": "AAAABBBB"}, {"b64": "CCCC"}]));
    let id = ada["id"].as_str().unwrap();
    assert!(id.starts_with("cf-") && id.len() == 35 && !id.contains("Ada"), "{id}");
    assert_eq!(second["items"][0]["id"], "bert");
}

#[test]
fn what_is_no_row_or_says_too_little_ends_with_64_and_shows_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = "{\"subject\": \"Zoe\", \"image\": \"AAAA\"}\n";
    let bert = good.replace("Zoe", "Bert");
    let unsorted = [good, &bert, good].concat();
    for (rows, more, words) in [
        ("nonsense\n", &CONSENT[..], "line 1: not a row"),
        (&unsorted, &CONSENT, "line 3: this subject came before"),
        (&good.replace("AAAA", " "), &CONSENT, "line 1: the picture is empty"),
        (&good.replace("Zoe", &"x".repeat(201)), &CONSENT, "1 to 200 bytes"),
        (good, &["--purposes", "A B", "--method", "form"], "--purposes"),
        (good, &["--purposes", "door", "--method", " "], "method"),
        (good, &["--method", "form"], "--purposes"),
        (good, &["--purposes", "door"], "--method"),
    ] {
        let output = convert(folder.path(), rows, more);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{words}: {said}");
        assert!(said.contains(words) && !said.contains("Zoe"), "{words}: {said}");
    }
}
