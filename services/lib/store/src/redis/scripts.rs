//! The scripts that the server runs, and their arguments. A script is sent by its digest; one that the server does not
//! know (yet, or after a restart) has not run, and is sent again in full.

use std::sync::LazyLock;

use bytes::Bytes;
use link::redis::{self, Cmd};

use super::text;
use crate::{Op, Precondition};

/// A script and the digest it goes by.
pub struct Script {
    source: String,
    digest: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
        let source = parts.concat();
        Self { digest: redis::Script::new(&source).get_hash().to_owned(), source }
    }

    /// Makes the script known.
    pub fn load(&self) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(&self.source);
        cmd
    }
}

const PRELUDE: &str = include_str!("prelude.lua");

/// Applies a commit.
pub static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("commit.lua")]));
/// Removes what has expired.
pub static SWEEP: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("sweep.lua")]));
/// Reads a range of records or keys.
pub static SCAN: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("scan.lua")]));
/// Reads part of the feed.
pub static CHANGES: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("changes.lua")]));
/// Forgets erasures that are finished.
pub static FINISH: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("finish.lua")]));

/// A script with its keys and arguments.
pub struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Bytes>,
}

impl Call {
    /// Without arguments yet.
    pub fn new(script: &'static Script, keys: impl Into<Vec<String>>) -> Self {
        Self { script, keys: keys.into(), arguments: Vec::new() }
    }

    /// Adds a number or word.
    pub fn text(&mut self, value: impl ToString) -> &mut Self {
        self.bytes(text(value))
    }

    /// Adds bytes as they are.
    pub fn bytes(&mut self, value: impl Into<Bytes>) -> &mut Self {
        self.arguments.push(value.into());
        self
    }

    /// Adds a precondition of a commit.
    pub fn precondition(&mut self, p: &Precondition) {
        let (kind, key, version) = match p {
            Precondition::Absent(key) => ("a", key, 0),
            Precondition::Present(key) => ("p", key, 0),
            Precondition::Unchanged(key, version) => ("u", key, version.0),
        };
        self.text(kind).text(key).bytes(version.to_le_bytes().to_vec());
    }

    /// Adds an operation of a commit.
    pub fn op(&mut self, op: &Op) {
        match op {
            Op::Put { key, value, expires_at } => {
                self.text("p").text(key).text(super::format::expiry(*expires_at)).bytes(value.clone())
            }
            Op::Delete { key } => self.text("d").text(key),
            Op::Erase { key } => self.text("e").text(key),
        };
    }

    /// Bytes of its arguments.
    pub fn size(&self) -> usize {
        self.arguments.iter().map(Bytes::len).sum()
    }

    /// The call by the script's digest.
    pub fn by_digest(&self) -> Cmd {
        self.cmd("EVALSHA", &self.script.digest)
    }

    /// The call with the whole script.
    pub fn in_full(&self) -> Cmd {
        self.cmd("EVAL", &self.script.source)
    }

    fn cmd(&self, name: &'static str, script: &str) -> Cmd {
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(self.keys.len()).arg(&self.keys);
        for argument in &self.arguments {
            cmd.arg(&argument[..]);
        }
        cmd
    }
}
