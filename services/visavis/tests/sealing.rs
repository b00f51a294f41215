//! Key-encryption keys as an operator meets them: made at the first start, lost, exchanged, taken from a program, replaced.
//! The real binary on the embedded store; nothing here needs models.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A data directory and the binary on it, with no settings from outside.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn visavis(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin").current_dir(self.0.path());
        command.args(arguments).envs(environment.iter().copied()).output().unwrap()
    }

    /// Starts everything. Without models it gets as far as those, which is past the store.
    fn up(&self, environment: &[(&str, &str)]) -> Output {
        let flags = ["up", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--offline", "--data-dir", "data"];
        self.visavis(&flags, environment)
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn past_the_store(output: &Output) {
    assert!(output.status.code() == Some(1) && said(output).contains("models import"), "{}", said(output));
}

#[track_caller]
fn refused(output: &Output, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(64), "{}", said(output));
    for part in parts {
        assert!(said(output).contains(part), "{part} is missing in {}", said(output));
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
}

#[test]
fn a_first_start_makes_a_key_and_no_later_one_goes_on_without_it() {
    let home = Home::new();
    let key = home.path("data/sealing.key");
    let first = home.up(&[]);
    past_the_store(&first);
    assert!(said(&first).contains("keep a backup"), "{}", said(&first));
    let text = fs::read_to_string(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!said(&first).contains(text.trim()), "the key itself is never shown");

    fs::rename(&key, home.path("mislaid")).unwrap();
    refused(&home.up(&[]), &["sealing.key is missing", "is sealed with it", "backup", "Nothing has been changed"]);
    assert!(!key.exists(), "no other key takes its place");
    write(&key, &"ab".repeat(32));
    refused(&home.up(&[]), &["does not open", "backup", "Nothing has been changed"]);
    write(&key, "not a key\n");
    refused(&home.up(&[]), &["sealing.key: line 1 of the key-encryption keys is not 32 bytes"]);
    refused(&home.up(&[("VISAVIS__SEALING__MODE", "off")]), &["this store is sealed with the key-encryption key"]);
    fs::rename(home.path("mislaid"), &key).unwrap();
    past_the_store(&home.up(&[]));
    assert_eq!(fs::read_to_string(&key).unwrap(), text);
}

#[test]
fn a_store_that_was_begun_without_sealing_stays_so_and_says_so() {
    let home = Home::new();
    let off = [("VISAVIS__SEALING__MODE", "off")];
    past_the_store(&home.up(&off));
    assert!(!home.path("data/sealing.key").exists());
    refused(&home.up(&[]), &["holds records that are not sealed", "sealing.mode = \"off\""]);
    let given = [("VISAVIS__SEALING__KEY", &*"ab".repeat(32))];
    refused(&home.up(&given), &["this store holds records that are not sealed"]);
    past_the_store(&home.up(&off));
}

#[test]
fn keys_come_from_one_of_a_file_a_variable_and_a_program() {
    let home = Home::new();
    let (a, b) = ("ab".repeat(32), "cd".repeat(32));
    write(&home.path("key"), &a);
    past_the_store(&home.up(&[("VISAVIS__SEALING__KEY_COMMAND", "[\"cat\", \"key\"]")]));
    assert!(!home.path("data/sealing.key").exists());
    past_the_store(&home.up(&[("VISAVIS__SEALING__KEY", &a)]));
    past_the_store(&home.up(&[("VISAVIS__SEALING__KEY_FILE", "key")]));
    past_the_store(&home.up(&[("VISAVIS__SEALING__KEY", &format!("{b}\n{a}"))]));

    refused(&home.up(&[("VISAVIS__SEALING__KEY", &b)]), &["does not open"]);
    refused(&home.up(&[("VISAVIS__SEALING__KEY_FILE", "gone")]), &["sealing.key_file gone cannot be read"]);
    let command = |c| home.up(&[("VISAVIS__SEALING__KEY_COMMAND", c)]);
    refused(&command("[\"no-such-program\"]"), &["sealing.key_command: no-such-program cannot be run"]);
    refused(&command("[\"false\"]"), &["sealing.key_command: false failed: exit status: 1"]);
    refused(&command("[\"true\"]"), &["the output of true: there is no key-encryption key"]);
    let two = [("VISAVIS__SEALING__KEY", &*a), ("VISAVIS__SEALING__KEY_FILE", "key")];
    refused(&home.up(&two), &["sealing.key: cannot be given beside sealing.key_file"]);
    for output in [home.up(&[("VISAVIS__SEALING__KEY", "hunter2")]), home.visavis(&["config", "print"], &two[..1])] {
        assert!(!said(&output).contains("hunter2") && !said(&output).contains(&a), "{}", said(&output));
    }
}

#[test]
fn on_a_shared_server_nobody_starts_without_a_key() {
    let home = Home::new();
    for role in ["gateway", "worker", "up"] {
        let output = home.visavis(&[role, "--redis", "redis://127.0.0.1:1", "--admin-listen=127.0.0.1:0"], &[]);
        refused(&output, &["there is no key", "VISAVIS__SEALING__KEY", "visavis sealing key", "sealing.mode"]);
    }
    refused(&home.visavis(&["queue", "ls", "--redis", "redis://127.0.0.1:1"], &[]), &["there is no key"]);
}

#[test]
fn a_key_is_replaced_by_another() {
    let home = Home::new();
    past_the_store(&home.up(&[]));
    let file = home.path("data/sealing.key");
    let old = fs::read_to_string(&file).unwrap();
    let status = |home: &Home| home.visavis(&["sealing", "status", "--data-dir", "data"], &[]);
    let rotate = |home: &Home| home.visavis(&["sealing", "rotate", "--data-dir", "data"], &[]);
    assert!(status(&home).status.success() && said(&status(&home)).contains("in use    1 data keys"));

    let made = home.visavis(&["sealing", "key", "--out", "data/sealing.key"], &[]);
    assert!(made.status.success() && said(&made).contains("sealing rotate"), "{}", said(&made));
    let both = fs::read_to_string(&file).unwrap();
    let (new, rest) = both.split_once('\n').unwrap();
    assert_eq!(rest, old);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    past_the_store(&home.up(&[]));
    assert!(said(&status(&home)).contains("former    1 data keys"), "{}", said(&status(&home)));
    let rotated = rotate(&home);
    assert!(rotated.status.success() && said(&rotated).contains("1 data keys of"), "{}", said(&rotated));
    assert!(said(&rotate(&home)).contains("0 data keys of"), "a second time there is nothing to do");

    write(&file, &old);
    refused(&home.up(&[]), &["does not open"]);
    write(&file, new);
    past_the_store(&home.up(&[]));
    assert!(!said(&status(&home)).contains("former"), "{}", said(&status(&home)));

    let printed = home.visavis(&["sealing", "key"], &[]);
    let key = String::from_utf8(printed.stdout).unwrap();
    assert!(key.trim().len() == 64 && key.trim() != new, "{key}");
    refused(&home.visavis(&["sealing", "status", "--data-dir", "nothing"], &[]), &["there is no store"]);
}
