//! What is in a snapshot file, whatever seals it. Called by `snapshot.rs`.
//!
//! Layout, integers little-endian: magic (8 bytes, the last is the version), revision u64, fingerprint (32), tenant and
//! collection (u16 length and text each); per row a 1, handle (16), face id (u16 length and text), template (u32 length
//! and bytes as in the store); a 0, rows u64; SHA-256 of all before. Where there is a key-encryption key all of it is
//! sealed under a data key of the file's own, after a magic that says so; see `sealing.rs`.

use std::io::{self, Read, Write};

use domain::{CollectionId, FaceId, Template, TenantId};
use sha2::{Digest, Sha256};
use store::{Revision, SubjectHandle};

use crate::{RowKey, live::Live, sealing::damaged};

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

/// Writes everything, in the layout above; nothing more once `abort` says so.
pub fn write_rows(
    to: &mut impl Write,
    header: &Header,
    live: &Live,
    abort: &dyn Fn() -> bool,
) -> io::Result<Option<u64>> {
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

/// The header of what `from` holds.
pub fn read_header(from: &mut impl Read) -> io::Result<Header> {
    if array::<8>(from)? != MAGIC {
        return Err(damaged("not a snapshot of this version"));
    }
    let revision = Revision(u64::from_le_bytes(array(from)?));
    let fingerprint = array(from)?;
    let tenant = TenantId::new(text(from)?).map_err(damaged)?;
    let collection = CollectionId::new(text(from)?).map_err(damaged)?;
    Ok(Header { tenant, collection, revision, fingerprint })
}

/// Gives every row to `row`, of a snapshot with this header. The rows may be used only when this succeeds: the checksum
/// comes last.
pub fn read_rows(
    from: &mut impl Read,
    header: &Header,
    row: &mut impl FnMut(RowKey, &Template) -> io::Result<()>,
) -> io::Result<()> {
    let mut from = Hashed { inner: from, hash: Sha256::new() };
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
    if array::<32>(from.inner)?[..] != expected[..] {
        return Err(damaged("checksum does not match"));
    }
    Ok(())
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
