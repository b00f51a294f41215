//! Snapshot files: the rows of one collection at one revision, so that a restart need not read every template from the
//! store. Subjects are not in it; they come from the store. Written and read by `galleries.rs`, on blocking threads.
//!
//! Layout, integers little-endian: magic (8 bytes, the last is the version), revision u64, fingerprint (32), tenant and
//! collection (u16 length and text each); per row a 1, handle (16), face id (u16 length and text), template (u32 length
//! and bytes as in the store); a 0, rows u64; SHA-256 of all before. Where there is a key-encryption key all of it is
//! sealed under a data key of the file's own, after a magic that says so; see `sealing.rs`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{CollectionId, FaceId, Template, TenantId};
use seal::Keyring;
use sha2::{Digest, Sha256};
use store::{Revision, Space, SubjectHandle};

use crate::{
    RowKey,
    live::Live,
    sealing::{self, damaged},
};

/// First bytes of a snapshot, sealed or not.
pub const MAGIC: [u8; 8] = *b"VISGAL\0\x01";

/// Longest template accepted: contract and 65 536 values.
const MAX_TEMPLATE: usize = 16 + 2 * 65_536;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub collection: CollectionId,
    /// Every change up to here is in it.
    pub revision: Revision,
    /// Which commit carried that revision; tells histories apart after a store was restored or replaced.
    pub fingerprint: [u8; 32],
}

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
        let inner = sealing::open(&self.path(&header.tenant, &header.collection), self.keyring.as_deref())?;
        let mut from = Hashed { inner, hash: Sha256::new() };
        if read_header(&mut from)? != *header {
            return Err(damaged("replaced while it was read"));
        }
        let mut rows = 0u64;
        while array::<1>(&mut from)?[0] == 1 {
            let handle = SubjectHandle(array(&mut from)?);
            let face_id = FaceId::new(text(&mut from)?).map_err(damaged)?;
            let len = u32::from_le_bytes(array(&mut from)?) as usize;
            if len > MAX_TEMPLATE {
                return Err(damaged("oversized row"));
            }
            let mut bytes = vec![0; len];
            from.read_exact(&mut bytes)?;
            row(RowKey { handle, face_id }, &Template::from_bytes(&bytes).map_err(damaged)?)?;
            rows += 1;
        }
        if u64::from_le_bytes(array(&mut from)?) != rows {
            return Err(damaged("wrong number of rows"));
        }
        let expected = from.hash.finalize();
        if array::<32>(&mut from.inner)?[..] != expected[..] {
            return Err(damaged("checksum does not match"));
        }
        Ok(())
    }

    fn header_of(&self, path: &Path) -> io::Result<Header> {
        read_header(&mut sealing::open(path, self.keyring.as_deref())?)
    }

    fn write(&self, path: &Path, header: &Header, live: &Live, abort: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
        let mut to = sealing::Writer::begin(create_private(path)?, path, self.keyring.as_deref())?;
        let rows = write_rows(&mut to, header, live, abort)?;
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

fn write_rows(to: &mut impl Write, header: &Header, live: &Live, abort: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    let mut to = Hashed { inner: to, hash: Sha256::new() };
    to.write_all(&MAGIC)?;
    to.write_all(&header.revision.0.to_le_bytes())?;
    to.write_all(&header.fingerprint)?;
    put_text(&mut to, header.tenant.as_str())?;
    put_text(&mut to, header.collection.as_str())?;
    let mut rows = 0u64;
    for index in live.indexes() {
        let mut block = 0;
        while let Some(exported) = index.export(block) {
            if abort() {
                return Ok(None);
            }
            for (key, template) in exported {
                to.write_all(&[1])?;
                to.write_all(&key.handle.0)?;
                put_text(&mut to, key.face_id.as_str())?;
                to.write_all(&u32::try_from(template.len()).map_err(damaged)?.to_le_bytes())?;
                to.write_all(&template)?;
                rows += 1;
            }
            block += 1;
        }
    }
    to.write_all(&[0])?;
    to.write_all(&rows.to_le_bytes())?;
    let digest = to.hash.finalize();
    to.inner.write_all(&digest)?;
    Ok(Some(rows))
}

fn read_header(from: &mut impl Read) -> io::Result<Header> {
    if array::<8>(from)? != MAGIC {
        return Err(damaged("not a snapshot of this version"));
    }
    let revision = Revision(u64::from_le_bytes(array(from)?));
    let fingerprint = array(from)?;
    let tenant = TenantId::new(text(from)?).map_err(damaged)?;
    let collection = CollectionId::new(text(from)?).map_err(damaged)?;
    Ok(Header { tenant, collection, revision, fingerprint })
}

/// Passes bytes through and hashes them.
struct Hashed<T> {
    inner: T,
    hash: Sha256,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Ids are short; whatever claims to be longer is damaged.
fn text(from: &mut impl Read) -> io::Result<String> {
    let len = usize::from(u16::from_le_bytes(array(from)?));
    if len > 64 {
        return Err(damaged("oversized id"));
    }
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(damaged)
}

fn put_text(to: &mut impl Write, text: &str) -> io::Result<()> {
    to.write_all(&u16::try_from(text.len()).map_err(damaged)?.to_le_bytes())?;
    to.write_all(text.as_bytes())
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
