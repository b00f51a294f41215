//! The data directory: what lies where, and the lock that keeps a second process out.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use runtime::Secret;

use crate::failure::Failure;

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    fresh: bool,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, readable by its owner alone, and takes it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when another process has it.
    pub fn take(root: &Path) -> Result<Self, Failure> {
        let failed = |e| Failure::io("the data directory", root, &e);
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        // Absolute, so that printed paths work from anywhere.
        let root = root.canonicalize().map_err(failed)?;
        let lock = File::options().create(true).append(true).open(root.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let detail = "is in use by another visavis. Stop that one, or choose another with --data-dir DIR";
                return Err(Failure::Unavailable(format!("the data directory {} {detail}", root.display())));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        let dir = Self { fresh: !root.join("store.redb").exists(), root, _lock: lock };
        for folder in [dir.tls(), dir.snapshots()] {
            fs::create_dir_all(&folder).map_err(|e| Failure::io("the folder", &folder, &e))?;
        }
        Ok(dir)
    }

    /// Whether nothing was kept here yet.
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The embedded store.
    pub fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Folder of the certificate and its key.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Folder of the objects, unless the configuration names another place.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Folder of the gallery snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The first admin key, unless the configuration names another file.
    pub fn admin_key(&self) -> PathBuf {
        self.root.join("admin.key")
    }

    /// The sample picture.
    pub fn sample(&self) -> PathBuf {
        self.root.join("astronaut.png")
    }
}

/// Writes a configured secret to its file, readable by its owner alone. A file with another secret is a contradiction
/// that only a person can settle.
///
/// # Errors
/// [`Failure::Usage`] when the file holds something else.
pub fn keep_secret(file: &Path, secret: &Secret<String>) -> Result<(), Failure> {
    let failed = |e: &io::Error| Failure::io("the key file", file, e);
    match File::options().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut new) => writeln!(new, "{}", secret.expose()).and_then(|()| new.sync_all()).map_err(|e| failed(&e)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let there = fs::read_to_string(file).map_err(|e| failed(&e))?;
            if there.trim() == secret.expose() {
                return Ok(());
            }
            let detail = "holds another key than gateway.admin_key. Remove one of the two";
            Err(Failure::Usage(format!("the key file {} {detail}", file.display())))
        }
        Err(e) => Err(failed(&e)),
    }
}
