//! A file system of a few MiB in memory, to be filled up, emptied again or made read-only. Needs root, since it is
//! mounted; without, tests that want one say SKIPPED.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

/// A small file system, mounted. Dropping it unmounts it, whatever is still open there.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many MiB, or a line that says what was left out.
    #[must_use]
    pub fn mount_or_skip(mib: u32) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("visavis-disk-").tempdir().expect("a folder");
        let size = format!("size={mib}m,mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|o| o.status.success()) {
            return Some(Self { folder });
        }
        // Past the test harness, which would hide it as the output of a test that passed.
        drop(writeln!(io::stderr(), "SKIPPED: no file system can be mounted here (that needs root)"));
        None
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room that is left but so many KiB.
    pub fn fill_but(&self, kib: usize) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).expect("a file");
        let block = vec![0; 4 << 10];
        while ballast.write_all(&block).is_ok() {}
        let taken = ballast.metadata().expect("a file").len();
        ballast.set_len(taken.saturating_sub((kib as u64) << 10)).expect("a shorter file");
    }

    /// Gives the room back.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    /// Makes it read-only, or writable again. Nothing may be open for writing there.
    pub fn read_only(&self, yes: bool) {
        let how = if yes { "remount,ro" } else { "remount,rw" };
        let done = Command::new("mount").args(["-o", how]).arg(self.path()).output().expect("mount runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what is still open there goes on until it is closed.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}
