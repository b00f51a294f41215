//! Erasures as a caller sees them, and their evidence as somebody without the service checks it: the real command line on
//! files. Included by path.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{Client, binary};

/// Longest time that an erasure may take here.
const LIMIT: Duration = Duration::from_secs(120);

/// The erasure once it is done.
pub async fn done(client: &Client, erasure: &str) -> Value {
    let began = Instant::now();
    loop {
        let answer = client.try_send(client.request("GET", erasure)).await;
        if let Ok(answer) = answer
            && answer.status == 200
            && answer.json["state"] == "succeeded"
        {
            return answer.json;
        }
        assert!(began.elapsed() < LIMIT, "the erasure is not done");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Files that somebody keeps, and the command line that checks them.
pub struct Desk {
    folder: TempDir,
}

impl Desk {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    /// A file with this text.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// The service's keys as they are now.
    pub async fn keys(&self, client: &Client) -> PathBuf {
        let keys = client.with_key("").get("/.well-known/jwks.json").await.expect(200);
        self.file("jwks.json", &keys.text())
    }

    /// The receipt of an erasure.
    pub async fn receipt(&self, client: &Client, erasure: &str) -> (String, PathBuf) {
        let text = client.get(&format!("{erasure}/receipt")).await.expect(200).text();
        let path = self.file("receipt.jws", &text);
        (text, path)
    }

    /// `visavis receipts verify`; exit status and output.
    pub fn verify_receipt(&self, receipt: &Path, keys: &Path, more: &[&str]) -> (i32, String) {
        run(Command::new(binary()).args(["receipts", "verify"]).arg(receipt).arg("--jwks").arg(keys).args(more))
    }

    /// `visavis audit verify` of these lines.
    pub fn verify_trail(&self, lines: &[String], more: &[&str]) -> (i32, String) {
        let path = self.file("audit.ndjson", &lines.iter().map(|l| format!("{l}\n")).collect::<String>());
        run(Command::new(binary()).args(["audit", "verify"]).arg(path).args(more))
    }
}

fn run(command: &mut Command) -> (i32, String) {
    let done = command.output().expect("the program runs");
    let text = [done.stdout, done.stderr].concat();
    (done.status.code().expect("a status"), String::from_utf8(text).expect("text"))
}

/// The audit trail as a file.
pub async fn export(client: &Client) -> Vec<String> {
    let text = client.get("/v1/audit-events/export").await.expect(200).text();
    text.lines().map(str::to_owned).collect()
}
