//! A folder of verified files, by checksum. Files appear in it whole or not at all, however many processes start at
//! once, and are verified again on each use. Callers: fetch, import, model sets.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use tempfile::{Builder, NamedTempFile, TempDir};

use crate::{Artefact, Checksum, ModelError};

/// The per-user store of fetched files.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, ModelError> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|e| ModelError::io(&root, e))?;
        Ok(Self { root })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the file lies, or would. The checksum is in the path: versions live side by side.
    #[must_use]
    pub fn path_of(&self, artefact: &Artefact) -> PathBuf {
        let sum = artefact.sha256.to_string();
        self.root.join(&artefact.name).join(&sum[..16]).join(&artefact.file)
    }

    /// The file, verified; `None` if it is not there.
    ///
    /// # Errors
    /// [`ModelError::WrongChecksum`] for a file that was damaged since; the file system's failures.
    pub fn find(&self, artefact: &Artefact) -> Result<Option<PathBuf>, ModelError> {
        let path = self.path_of(artefact);
        if !path.try_exists().map_err(|e| ModelError::io(&path, e))? {
            return Ok(None);
        }
        verify(&path, artefact.sha256)?;
        Ok(Some(path))
    }

    /// Stores what `from` reads, if it is the artefact: temporary file, fsync, rename.
    pub(crate) fn store(&self, artefact: &Artefact, from: &mut dyn Read) -> Result<PathBuf, ModelError> {
        let path = self.path_of(artefact);
        let folder = path.parent().unwrap_or(&self.root);
        let failed = |e| ModelError::io(&path, e);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut temp = NamedTempFile::new_in(folder).map_err(failed)?;
        let found = copy_hashed(from, temp.as_file_mut()).map_err(failed)?;
        if found != artefact.sha256 {
            return Err(ModelError::checksum(&artefact.file, artefact.sha256, found));
        }
        temp.as_file().sync_all().map_err(failed)?;
        readable_by_all(temp.as_file()).map_err(failed)?;
        temp.persist(&path).map_err(|e| failed(e.error))?;
        // The rename itself has to reach the disk as well.
        File::open(folder).and_then(|d| d.sync_all()).map_err(failed)?;
        Ok(path)
    }

    /// A folder for a download, on the same file system, removed with the value.
    pub(crate) fn scratch(&self) -> Result<TempDir, ModelError> {
        Builder::new().prefix(".download-").tempdir_in(&self.root).map_err(|e| ModelError::io(&self.root, e))
    }

    /// Waits until no other process fetches into this cache; freed when the file is closed, or its process ends.
    pub(crate) fn lock(&self) -> Result<File, ModelError> {
        let path = self.root.join(".lock");
        let failed = |e| ModelError::io(&path, e);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }
}

/// Checks a file against its checksum.
pub(crate) fn verify(path: &Path, expected: Checksum) -> Result<(), ModelError> {
    let found = Checksum::of_file(path)?;
    if found == expected { Ok(()) } else { Err(ModelError::checksum(path.display().to_string(), expected, found)) }
}

/// Temporary files are made for their owner alone; a cache may be shared by several users.
pub(crate) fn readable_by_all(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<Checksum> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            to.flush()?;
            return hex::encode(hash.finalize()).parse().map_err(io::Error::other);
        }
        hash.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
    }
}
