//! Objects as files of a folder, readable by their owner alone. A put is whole or not there, and on disk before it
//! returns; so is a deletion. Used by `Objects::disk`.

use std::{
    fs::{self, DirBuilder, File, ReadDir},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use domain::Timestamp;

use crate::Listed;

/// Folder of files that are being written. No name begins with a dot.
const WRITING: &str = ".writing";
/// Files that are being written are done with after this long.
const BROKEN_OFF: Duration = Duration::from_secs(3600);
/// How often a put is tried again whose folder was removed by a deletion at the same moment.
const ATTEMPTS: usize = 8;
/// Entries read at a time.
const PAGE: usize = 256;

#[derive(Clone, Debug)]
pub struct Disk {
    root: Arc<Path>,
}

impl Disk {
    /// Makes the folder where it is missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        make_folder(root)?;
        let root = root.canonicalize()?;
        make_folder(&root.join(WRITING))?;
        // What a crash broke off; nobody else would remove it.
        for entry in fs::read_dir(root.join(WRITING))?.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            if age.is_some_and(|a| a > BROKEN_OFF) {
                drop(fs::remove_file(entry.path()));
            }
        }
        Ok(Self { root: root.into() })
    }

    /// Writes an object, over one of the same name.
    pub fn put(&self, name: &str, bytes: &Bytes) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let draft = self.root.join(WRITING).join(format!("{}-{number}-{nanos}", std::process::id()));
        let placed = write(&draft, bytes).and_then(|()| self.place(&draft, folder, &path));
        if placed.is_err() {
            drop(fs::remove_file(&draft));
        }
        placed
    }

    fn place(&self, draft: &Path, folder: &Path, path: &Path) -> io::Result<()> {
        for attempt in 1.. {
            let placed = make_folder(folder).and_then(|()| fs::rename(draft, path)).and_then(|()| self.sync(folder));
            match placed {
                Err(e) if e.kind() == ErrorKind::NotFound && attempt < ATTEMPTS && draft.exists() => {}
                done => return done,
            }
        }
        Ok(())
    }

    pub fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        match fs::read(self.root.join(name)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes an object, and with it the folders that have become empty: their names are handles of subjects.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if absent(&e) => return Ok(()),
            Err(e) => return Err(e),
        }
        let mut folder = path.parent().unwrap_or(&self.root);
        while *folder != *self.root && fs::remove_dir(folder).is_ok() {
            folder = folder.parent().unwrap_or(&self.root);
        }
        self.sync(folder)
    }

    /// What lies below `prefix`, piece by piece.
    pub fn walk(&self, prefix: &str) -> io::Result<Walk> {
        let mut walk = Walk { root: Arc::clone(&self.root), open: Vec::new() };
        walk.enter(&self.root.join(prefix))?;
        Ok(walk)
    }

    /// What was renamed or removed in a folder is so after a crash as well, and so are the folders above it.
    fn sync(&self, folder: &Path) -> io::Result<()> {
        for folder in folder.ancestors().take_while(|f| f.starts_with(&self.root)) {
            // Removed meanwhile: what was in it was deleted.
            if let Some(folder) = present(File::open(folder))? {
                folder.sync_all()?;
            }
        }
        Ok(())
    }
}

/// A walk through folders.
pub struct Walk {
    root: Arc<Path>,
    open: Vec<ReadDir>,
}

impl Walk {
    /// The next objects; none at the end.
    pub fn page(&mut self) -> io::Result<Vec<Listed>> {
        let mut page = Vec::new();
        while page.len() < PAGE {
            let Some(folder) = self.open.last_mut() else { break };
            let Some(entry) = folder.next() else {
                self.open.pop();
                continue;
            };
            let entry = entry?;
            // Removed meanwhile: not there.
            let Some(meta) = present(entry.metadata())? else { continue };
            if meta.is_dir() {
                self.enter(&entry.path())?;
            } else if let Some(name) = self.name(&entry.path()) {
                let since = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                let written_at = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
                page.push(Listed { name, size: meta.len(), written_at });
            }
        }
        Ok(page)
    }

    fn enter(&mut self, folder: &Path) -> io::Result<()> {
        self.open.extend(present(fs::read_dir(folder))?);
        Ok(())
    }

    fn name(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write(draft: &PathBuf, bytes: &Bytes) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Not there, or below something that is an object.
fn absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn present<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}
