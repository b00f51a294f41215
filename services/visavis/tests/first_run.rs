//! The first minute: `visavis up`, the three printed lines as they are, Ctrl-C, another start. Real models, real
//! TLS. Needs curl, and pip or a filled cache.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

struct Server {
    child: Child,
    lines: Vec<String>,
}

impl Server {
    /// Starts and reads what is printed until it is ready.
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_visavis"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = Vec::new();
        for line in out.lines() {
            lines.push(line.unwrap());
            if lines.last().is_some_and(|l| l.contains("Ctrl-C")) {
                return Self { child, lines };
            }
        }
        let _ = child.kill();
        panic!("ended before it was ready: {:?}, {lines:?}", child.wait());
    }

    fn curl_lines(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|l| l.starts_with("curl ")).collect()
    }

    fn interrupt(mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Runs a printed line in a shell; gives the status and the answer.
fn paste(line: &str, elsewhere: &Path) -> (u16, serde_json::Value) {
    let line = format!("{line} --silent --show-error --write-out '\\n%{{http_code}}'");
    let output = Command::new("sh").args(["-c", &line]).current_dir(elsewhere).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) =
        text.rsplit_once('\n').unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (status.parse().unwrap(), serde_json::from_str(body).unwrap())
}

#[test]
fn the_printed_lines_work_as_printed_and_a_restart_keeps_everything() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: curl is not installed");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // A space in the path: the lines must quote it.
    let data: PathBuf = home.path().join("my data");

    let server = Server::start(&data);
    let lines = server.curl_lines();
    assert_eq!(lines.len(), 3, "{:?}", server.lines);
    let (status, collection) = paste(lines[0], home.path());
    assert_eq!((status, &collection["id"]), (201, &"demo".into()), "{collection}");
    let (status, enrolled) = paste(lines[1], home.path());
    assert_eq!((status, enrolled["faces"].as_array().map(Vec::len)), (201, Some(1)), "{enrolled}");
    let (status, found) = paste(lines[2], home.path());
    assert_eq!((status, &found["results"][0]["decision"]), (200, &"match".into()), "{found}");
    assert_eq!(found["results"][0]["candidates"][0]["subject_id"], "astronaut");
    assert_eq!(server.interrupt().code(), Some(0));

    let again = Server::start(&data);
    let kept = again.curl_lines()[2].replace("/demo-2/", "/demo/");
    let (status, found) = paste(&kept, home.path());
    assert_eq!((status, &found["results"][0]["decision"]), (200, &"match".into()), "{found}");
    // And the lines printed now work too, in a collection of their own.
    let statuses: Vec<u16> = again.curl_lines().iter().map(|line| paste(line, home.path()).0).collect();
    assert_eq!(statuses, [201, 201, 200]);
    assert_eq!(again.interrupt().code(), Some(0));
}
