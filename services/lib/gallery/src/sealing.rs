//! The form of a snapshot file: sealed under a data key of its own where there is a key-encryption key, else plain. Used
//! by `snapshot.rs`, which knows what is in it.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Write},
    path::Path,
};

use seal::{Keyring, SealError, SealedWriter, context};

use crate::snapshot::MAGIC;

/// First bytes of a sealed snapshot; the data key and the sealed stream follow.
const SEALED: [u8; 8] = *b"VISGAL\0\x02";

/// Bytes read and written at a time.
const BUFFER: usize = 1 << 20;

/// What a file is bound to: the collection, by the hash it is named after.
fn place(path: &Path) -> Vec<u8> {
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    context(&["snapshot", &name])
}

/// Writes a snapshot.
pub enum Writer {
    /// As it is.
    Plain(BufWriter<File>),
    /// Sealed.
    Sealed(Box<SealedWriter<BufWriter<File>>>),
}

impl Writer {
    /// Begins the file at `path`, which is open.
    pub fn begin(file: File, path: &Path, keyring: Option<&Keyring>) -> io::Result<Self> {
        let mut to = BufWriter::with_capacity(BUFFER, file);
        let Some(keyring) = keyring else { return Ok(Self::Plain(to)) };
        to.write_all(&SEALED)?;
        Ok(Self::Sealed(Box::new(keyring.seal_file(to, &place(path))?)))
    }

    /// Writes what is left; gives the file, not synced.
    pub fn finish(self) -> io::Result<File> {
        let to = match self {
            Self::Plain(to) => to,
            Self::Sealed(to) => to.finish()?,
        };
        to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Sealed(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Sealed(to) => to.flush(),
        }
    }
}

/// Opens a snapshot for reading, as it was before it was sealed. A plain one is not taken where there are keys: nobody
/// vouches for it.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for one that does not open; [`io::ErrorKind::NotFound`].
pub fn open(path: &Path, keyring: Option<&Keyring>) -> io::Result<Box<dyn Read>> {
    let mut from = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut magic = [0; 8];
    from.read_exact(&mut magic)?;
    match (magic, keyring) {
        (SEALED, Some(keyring)) => Ok(Box::new(keyring.open_file(from, &place(path))?)),
        (SEALED, None) => Err(damaged("sealed, and there is no key")),
        (MAGIC, Some(_)) => Err(damaged("not sealed")),
        (MAGIC, None) => Ok(Box::new(io::Cursor::new(magic).chain(from))),
        _ => Err(damaged("not a snapshot of this version")),
    }
}

/// Whether a file did not open because it was sealed with a key that this process does not have: not one it is writing.
pub fn is_foreign(e: &io::Error) -> bool {
    let why = e.get_ref().and_then(|inner| inner.downcast_ref::<SealError>());
    matches!(why, Some(SealError::UnknownKey(_)))
}

/// A file that cannot be used.
pub fn damaged(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
