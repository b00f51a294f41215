//! `visavis eval` as a user meets it: the real binary with real models on a few photos, its reports and its refusals.
//! More pictures, and figures to compare with, where the evaluation pictures are present.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "eval/calibrate.rs"]
mod calibrate;
#[path = "eval/identification.rs"]
mod identification;
#[path = "eval/refusals.rs"]
mod refusals;
#[path = "eval/verification.rs"]
mod verification;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use testkit::Person;

/// A folder for each of three people with three photos each, and a picture without a face.
struct Photos {
    folder: tempfile::TempDir,
}

impl Photos {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for person in Person::ALL {
            let own = folder.path().join(person.id());
            fs::create_dir(&own).unwrap();
            for (i, photo) in std::iter::once(person.photo()).chain(person.others()).enumerate() {
                fs::write(own.join(format!("{i}.png")), photo).unwrap();
            }
        }
        fs::write(folder.path().join("empty.png"), testkit::Picture::filled(200, 200, [90; 3]).png()).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Runs `visavis eval` with models from the cache of all tests.
fn eval(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    command.arg("eval").args(args).env("VISAVIS__MODELS__CACHE_DIR", testkit::cache_dir());
    command.output().unwrap()
}

/// Runs it and expects success; gives what it printed.
fn evaluated(args: &[&str]) -> String {
    let output = eval(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A file with this text; its path as text.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The page and its figures name no folder of this machine.
fn assert_names_no_folder(report: &Path, folders: &[&Path]) {
    for path in [report.join("report.html"), report.join("report.json")] {
        let text = fs::read_to_string(&path).unwrap();
        for folder in folders {
            assert!(!text.contains(folder.to_str().unwrap()), "{} names {}", path.display(), folder.display());
        }
    }
}

/// LFW View 1, where it is there.
fn lfw() -> Option<PathBuf> {
    testkit::shared_or_skip("data/lfw-view1")
}
