//! Folders in memory, in which the training library has its files while it learns. What is kept of them goes through the
//! vault: weights that have learnt from faces lie on no disk in the clear.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use domain::{JobId, RunFailureCode};

use crate::{Halt, TrainerError};

/// First part of the names of all folders.
const MARK: &str = "visavis-training-";
/// Held locked by the process that uses a folder.
const LOCK: &str = ".lock";

/// A file system in memory (Linux's magic numbers of tmpfs and ramfs).
#[cfg(target_os = "linux")]
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Where folders are made.
#[derive(Clone, Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// At `root`, which has to be in memory where things are sealed. What a process that was killed left there goes.
    ///
    /// # Errors
    /// [`TrainerError::Scratch`].
    pub fn open(root: &Path, sealed: bool) -> Result<Self, TrainerError> {
        let unusable = |why: String| TrainerError::Scratch { folder: root.to_owned(), why };
        fs::create_dir_all(root).map_err(|e| unusable(e.to_string()))?;
        if sealed && !in_memory(root).map_err(|e| unusable(e.to_string()))? {
            return Err(unusable("is on a disk, where weights would lie in the clear: name one in memory".into()));
        }
        for entry in fs::read_dir(root).map_err(|e| unusable(e.to_string()))?.flatten() {
            let left = entry.file_name().to_string_lossy().starts_with(MARK);
            if left && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        Ok(Self(root.to_owned()))
    }

    /// A folder that goes with what is given.
    ///
    /// # Errors
    /// A failure of the run.
    pub fn folder(&self) -> Result<Folder, Halt> {
        let path = self.0.join(format!("{MARK}{}", JobId::generate()));
        let made = (|| {
            fs::create_dir(&path)?;
            let lock = File::create(path.join(LOCK))?;
            match lock.try_lock() {
                Ok(()) | Err(TryLockError::WouldBlock) => Ok(lock),
                Err(TryLockError::Error(e)) => Err(e),
            }
        })();
        Ok(Folder { _lock: made.map_err(|e| failed(&e))?, path })
    }
}

#[cfg(target_os = "linux")]
fn in_memory(folder: &Path) -> io::Result<bool> {
    let kind = rustix::fs::statfs(folder)?.f_type;
    Ok(IN_MEMORY.iter().any(|known| i128::from(kind) & 0xffff_ffff == i128::from(*known)))
}

#[cfg(not(target_os = "linux"))]
fn in_memory(_: &Path) -> io::Result<bool> {
    Ok(false)
}

/// A full file system is its own failure.
fn failed(e: &io::Error) -> Halt {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            let detail = format!("no room is left in trainer.scratch_dir, where the training has its files: {e}");
            Halt::failed(RunFailureCode::StorageFull, detail)
        }
        _ => Halt::internal(format!("trainer.scratch_dir cannot be used: {e}")),
    }
}

/// A folder of one training.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All files in it but those that are made anew without being kept (`left_out`), as one piece: for each the length of
    /// its name, its name, its length, itself.
    ///
    /// # Errors
    /// A failure of the run.
    pub fn pack(&self, left_out: impl Fn(&str) -> bool) -> Result<Vec<u8>, Halt> {
        let mut all = Vec::new();
        let pack = || -> io::Result<()> {
            for name in names(&self.path, "")?.into_iter().filter(|n| !left_out(n)) {
                let bytes = fs::read(self.path.join(&name))?;
                for part in [name.as_bytes(), &bytes] {
                    all.write_all(&(part.len() as u64).to_le_bytes())?;
                    all.write_all(part)?;
                }
            }
            Ok(())
        };
        let mut pack = pack;
        pack().map_err(|e| failed(&e))?;
        Ok(all)
    }

    /// Puts files back that were packed.
    ///
    /// # Errors
    /// A failure of the run.
    pub fn unpack(&self, mut packed: &[u8]) -> Result<(), Halt> {
        let mut next = || -> io::Result<Option<Vec<u8>>> {
            if packed.is_empty() {
                return Ok(None);
            }
            let mut length = [0; 8];
            packed.read_exact(&mut length)?;
            let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
            let (part, rest) = packed.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            packed = rest;
            Ok(Some(part.to_vec()))
        };
        let mut unpack = || -> io::Result<()> {
            while let Some(name) = next()? {
                let name = String::from_utf8(name).map_err(io::Error::other)?;
                // Written by this module, sealed since; all the same nothing leaves the folder.
                if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let path = self.path.join(name);
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(path, next()?.ok_or(io::ErrorKind::UnexpectedEof)?)?;
            }
            Ok(())
        };
        unpack().map_err(|e| failed(&e))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Files below a folder, by their names within, in order.
fn names(root: &Path, below: &str) -> io::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            all.extend(names(root, &format!("{name}/"))?);
        } else if name != LOCK {
            all.push(name);
        }
    }
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_a_folder_goes_with_its_owner() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(root.path(), false).unwrap();
        let (one, other) = (scratch.folder().unwrap(), scratch.folder().unwrap());
        fs::create_dir(one.path().join("parts")).unwrap();
        fs::write(one.path().join("run.json"), b"{}").unwrap();
        fs::write(one.path().join("parts/empty"), b"").unwrap();
        fs::write(one.path().join("large"), b"made anew").unwrap();
        let packed = one.pack(|name| name == "large").unwrap();
        other.unpack(&packed).unwrap();
        assert_eq!(other.pack(|_| false).unwrap(), packed);
        assert_eq!(fs::read(other.path().join("run.json")).unwrap(), b"{}");
        for cut in [3, 8, packed.len() - 1] {
            assert!(scratch.folder().unwrap().unpack(&packed[..cut]).is_err(), "{cut}");
        }
        let out = [&4u64.to_le_bytes()[..], b"../x", &0u64.to_le_bytes()].concat();
        assert!(other.unpack(&out).is_err(), "out of the folder");
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        let used = Scratch::open(root.path(), false).unwrap().folder().unwrap();
        let left = root.path().join(format!("{MARK}left"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), b"").unwrap();
        drop(Scratch::open(root.path(), false).unwrap());
        assert!(!left.exists() && used.path().exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_is_refused_where_things_are_sealed() {
        assert!(Scratch::open(Path::new("/dev/shm"), true).is_ok());
        let here = tempfile::Builder::new().tempdir_in(".").unwrap();
        if !in_memory(here.path()).unwrap() {
            let refused = Scratch::open(here.path(), true).unwrap_err().to_string();
            assert!(refused.contains("in the clear"), "{refused}");
        }
    }
}
