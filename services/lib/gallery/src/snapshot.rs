//! Snapshot files: the rows of one collection at one revision, so that a restart need not read every template from the
//! store. Subjects are not in it; they come from the store. Written and read by `galleries.rs`, on blocking threads.

pub mod form;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{CollectionId, Template, TenantId};
use seal::Keyring;
use sha2::{Digest, Sha256};
use store::Space;

pub use form::{Header, MAGIC};

use crate::{
    RowKey,
    live::Live,
    sealing::{self, damaged},
};

/// The directory of snapshots.
#[derive(Clone, Debug)]
pub struct Snapshots {
    dir: PathBuf,
    keyring: Option<Arc<Keyring>>,
}

impl Snapshots {
    /// In `dir`, made when first written to; sealed where there are keys.
    pub const fn new(dir: PathBuf, keyring: Option<Arc<Keyring>>) -> Self {
        Self { dir, keyring }
    }

    /// Hashed: ids differ in case only where some file systems do not.
    fn path(&self, tenant: &TenantId, collection: &CollectionId) -> PathBuf {
        let digest = Sha256::digest(Space::collection(tenant, collection).as_str());
        let name: String = digest[..16].iter().map(|b| format!("{b:02x}")).collect();
        self.dir.join(name).with_extension("gallery")
    }

    /// Writes the rows of `live`, under a temporary name until complete. Returns the number of rows, or `None` when
    /// `abort` said so, in which case nothing is left.
    ///
    /// # Errors
    /// The file system's; nothing is left then either.
    pub fn save(&self, header: &Header, live: &Live, abort: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        let path = self.path(&header.tenant, &header.collection);
        let temporary = path.with_extension("partial");
        make_private_dir(&self.dir)?;
        destroy(&temporary)?;
        let written = self.write(&temporary, header, live, abort);
        match written {
            Ok(Some(rows)) => {
                // The file it replaces may hold rows erased since.
                destroy(&path)?;
                fs::rename(&temporary, &path)?;
                sync_dir(&self.dir)?;
                Ok(Some(rows))
            }
            Ok(None) => destroy(&temporary).map(|()| None),
            Err(e) => {
                destroy(&temporary)?;
                Err(e)
            }
        }
    }

    /// Overwrites and removes the collection's snapshot, finished or not.
    ///
    /// # Errors
    /// The file system's; a missing file is none.
    pub fn destroy(&self, tenant: &TenantId, collection: &CollectionId) -> io::Result<()> {
        self.destroy_unfinished(tenant, collection)?;
        destroy(&self.path(tenant, collection))
    }

    /// Overwrites and removes what was written of a snapshot and not finished.
    ///
    /// # Errors
    /// The file system's; a missing file is none.
    pub fn destroy_unfinished(&self, tenant: &TenantId, collection: &CollectionId) -> io::Result<()> {
        destroy(&self.path(tenant, collection).with_extension("partial"))
    }

    /// The header of the collection's snapshot; `None` if there is none.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a damaged one.
    pub fn header(&self, tenant: &TenantId, collection: &CollectionId) -> io::Result<Option<Header>> {
        let header = match self.header_of(&self.path(tenant, collection)) {
            Ok(header) => header,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let ours = header.tenant == *tenant && header.collection == *collection;
        if ours { Ok(Some(header)) } else { Err(damaged("another collection's")) }
    }

    /// Gives every row to `row`. The rows may be used only when this succeeds: the checksum comes last.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for a damaged snapshot; the file system's.
    pub fn load(&self, header: &Header, mut row: impl FnMut(RowKey, &Template) -> io::Result<()>) -> io::Result<()> {
        let mut from = sealing::open(&self.path(&header.tenant, &header.collection), self.keyring.as_deref())?;
        form::read_rows(&mut from, header, &mut row)
    }

    fn header_of(&self, path: &Path) -> io::Result<Header> {
        form::read_header(&mut sealing::open(path, self.keyring.as_deref())?)
    }

    fn write(&self, path: &Path, header: &Header, live: &Live, abort: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        let mut to = sealing::Writer::begin(create_private(path)?, path, self.keyring.as_deref())?;
        let rows = form::write_rows(&mut to, header, live, abort)?;
        if rows.is_some() {
            to.finish()?.sync_all()?;
        }
        Ok(rows.filter(|_| !abort()))
    }

    /// Headers of all snapshots in the directory, and of those begun and not finished; damaged ones are destroyed.
    ///
    /// # Errors
    /// The file system's.
    pub fn sweep(&self) -> io::Result<(Vec<Header>, Vec<Header>)> {
        let (mut finished, mut unfinished) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((finished, unfinished)),
            Err(e) => return Err(e),
        };
        for entry in entries {
            let path = entry?.path();
            let Some(kind) = path.extension().and_then(|x| x.to_str()) else { continue };
            match (kind, self.header_of(&path)) {
                ("gallery", Ok(header)) => finished.push(header),
                ("gallery", Err(reason)) => {
                    tracing::warn!(%reason, "a snapshot that cannot be used is destroyed");
                    destroy(&path)?;
                }
                ("partial", Ok(header)) => unfinished.push(header),
                ("partial", Err(e)) if sealing::is_foreign(&e) => destroy(&path)?,
                // One without a header has no rows yet, and may be about to get them from this very process.
                _ => {}
            }
        }
        Ok((finished, unfinished))
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes renames and removals in `dir` durable.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Overwrites a file with zeros, on disk, and removes it. No file is fine.
fn destroy(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let zeros = vec![0; 1 << 16];
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(&zeros[..n])?;
        left -= n as u64;
    }
    file.sync_all()?;
    fs::remove_file(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}
