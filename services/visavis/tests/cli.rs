//! The command line as a user meets it: the real binary, its output and exit status. Nothing here needs models.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

/// The binary, with folders of its own and no settings from outside.
fn visavis(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visavis"));
    command.env_clear().env("HOME", home);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Flags under which `up` disturbs nothing: any ports, nothing fetched.
const QUIET: [&str; 5] = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--offline", "--data-dir", "data"];

#[test]
fn a_bad_configuration_ends_with_64_and_names_every_key() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("visavis.toml");
    std::fs::write(&file, "[worker]\nembed_batch = 'many'\n[gatway]\nlisten = '127.0.0.1:1'\n").unwrap();
    let mut command = visavis(home.path());
    command.args(["up", "--listen", "here", "--config"]).arg(&file).env("VISAVIS__QUEUE__LANE_JOBS", "0");
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(64), "{said}");
    for part in [
        "worker.embed_batch: ",
        "gatway.listen: unknown field",
        "gateway.listen: ",
        "(from flag --listen)",
        "queue.lane_jobs: must be at least 1 (from environment variable VISAVIS__QUEUE__LANE_JOBS)",
        "visavis.toml)",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn unknown_flags_and_commands_end_with_64_and_help_with_0() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [&["--nonsense"][..], &["up", "--nonsense"], &["dance"], &["eval", "verification"]] {
        let output = visavis(home.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{}", stderr(&output));
    }
    let help = visavis(home.path()).arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("--admin-key-file") && stdout(&help).contains("openapi"), "{}", stdout(&help));
}

#[test]
fn config_print_shows_the_effective_values_but_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let key = "vv_first_0123456789abcdefSECRET";
    let mut command = visavis(home.path());
    command.args(["config", "print", "--listen", "127.0.0.1:7"]).env("VISAVIS__GATEWAY__ADMIN_KEY", key);
    let output = command.output().unwrap();
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(shown.contains("listen = \"127.0.0.1:7\"") && shown.contains("# gateway.listen: flag --listen"), "{shown}");
    assert!(shown.contains("admin_key = \"[redacted]\"") && !shown.contains("SECRET"), "{shown}");
    let data_dir = format!("data_dir = \"{}/.local/share/visavis\"", home.path().display());
    assert!(shown.contains(&data_dir), "{shown}");

    // A secret that is refused is not shown either.
    let refused = visavis(home.path()).args(["config", "print"]).env("VISAVIS__GATEWAY__ADMIN_KEY", "SECRET").output();
    let said = stderr(&refused.unwrap());
    assert!(said.contains("gateway.admin_key: must have the form") && !said.contains("SECRET"), "{said}");
}

#[test]
fn openapi_prints_a_document_of_the_routes() {
    let home = tempfile::tempdir().unwrap();
    let output = visavis(home.path()).arg("openapi").output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/v1/collections"]["post"].is_object());
}

#[test]
fn a_port_in_use_ends_with_69_and_says_which_flag_helps() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--admin-listen"] {
        let others = QUIET.iter().filter(|q| !q.starts_with(&format!("{flag}=")));
        let mut command = visavis(home.path());
        let output = command.current_dir(home.path()).arg("up").args(others).args([flag, &address]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains(&address) && said.contains(&format!("another with {flag}")), "{said}");
    }
}

#[test]
fn a_data_directory_in_use_ends_with_69() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let lock = File::create(data.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = visavis(home.path()).current_dir(home.path()).arg("up").args(QUIET).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(stderr(&output).contains("is in use by another visavis"), "{}", stderr(&output));
}

#[test]
fn offline_without_models_says_how_to_bring_them_in() {
    let home = tempfile::tempdir().unwrap();
    // No subcommand: `up` is the default.
    let output = visavis(home.path()).current_dir(home.path()).args(QUIET).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("visavis models import FILE"), "{}", stderr(&output));
}

#[test]
fn models_are_listed_with_their_licences_and_strange_files_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let list = stdout(&visavis(home.path()).args(["models", "list"]).output().unwrap());
    let line = |name: &str| list.lines().find(|l| l.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("sface").contains("Apache-2.0") && line("sface").ends_with("no"), "{list}");
    assert!(line("w600k_mbf").contains("non-commercial"), "{list}");
    assert!(line("onnxruntime").contains("MIT"), "{list}");

    let junk = home.path().join("junk.onnx");
    std::fs::write(&junk, "not a model").unwrap();
    let refused = visavis(home.path()).args(["models", "import"]).arg(&junk).output().unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", stderr(&refused));
    let research = visavis(home.path()).args(["models", "fetch", "w600k_mbf"]).output().unwrap();
    assert!(stderr(&research).contains("--accept-licence"), "{}", stderr(&research));
    let unknown = visavis(home.path()).args(["models", "fetch", "nosuch"]).output().unwrap();
    assert!(stderr(&unknown).contains("there are: ") && unknown.status.code() == Some(64), "{}", stderr(&unknown));
}

#[test]
fn eval_names_the_line_or_picture_that_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let pairs = home.path().join("pairs.csv");
    let run = |text: &str| {
        std::fs::write(&pairs, text).unwrap();
        let mut command = visavis(home.path());
        command.args(["eval", "verification", "--offline", "--images", "."]).arg("--pairs").arg(&pairs);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(run("left,right,same\na.jpg,b.jpg,perhaps\n").contains("line 2"));
    assert!(run("left,right,same\na.jpg,b.jpg,1\n").contains("a.jpg is missing"));
}
