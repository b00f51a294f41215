//! Sealed files: a stream in chunks, each authenticated with its number and whether it is the last, so that a file that
//! was cut, reordered or joined does not open. A data key may seal any number of files: each has a key of its own,
//! derived from a random salt at its beginning.
//!
//! Layout: form (1 byte), key's name (8), salt (24); per chunk u32 little-endian (length of its text; the top bit marks
//! the last), text, tag (16).

use std::io::{self, Read, Write};

use aes_gcm::{Aes256Gcm, KeyInit, aead::AeadInOut};

use crate::{
    DataKey, KeyId, SealError,
    cipher::{NONCE, TAG},
    key::FORM,
    keyring::subkey,
    random,
};

/// Bytes of text in a chunk but the last.
const CHUNK: usize = 1 << 16;
const LAST: u32 = 1 << 31;

/// The cipher of one file and the number of the chunk that comes next.
struct Chunks {
    cipher: Aes256Gcm,
    context: Vec<u8>,
    next: u64,
}

impl Chunks {
    fn new(key: &DataKey, salt: &[u8; NONCE], context: &[u8]) -> Result<Self, SealError> {
        let file_key = subkey(key.secret(), &[b"visavis file ", &salt[..]].concat())?;
        Ok(Self { cipher: Aes256Gcm::new((&*file_key).into()), context: context.to_vec(), next: 0 })
    }

    /// The next chunk's nonce: its number, and whether it is the last. No file key sees a nonce twice.
    fn nonce(&mut self, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.next.to_le_bytes());
        nonce[8] = u8::from(last);
        self.next += 1;
        nonce
    }
}

/// Seals what is written to it. Nothing opens unless [`SealedWriter::finish`] was called.
pub struct SealedWriter<W> {
    inner: W,
    chunks: Chunks,
    buffer: Vec<u8>,
}

impl<W: Write> SealedWriter<W> {
    /// Begins a file under `key`, for `context`.
    ///
    /// # Errors
    /// The writer's.
    pub fn new(mut inner: W, key: &DataKey, context: &[u8]) -> io::Result<Self> {
        let mut salt = [0; NONCE];
        random(&mut salt).map_err(io::Error::other)?;
        inner.write_all(&[FORM])?;
        inner.write_all(&key.id().0)?;
        inner.write_all(&salt)?;
        let chunks = Chunks::new(key, &salt, context).map_err(io::Error::other)?;
        Ok(Self { inner, chunks, buffer: Vec::with_capacity(CHUNK) })
    }

    /// Writes the last chunk; gives the writer back, not flushed.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.put(true)?;
        Ok(self.inner)
    }

    fn put(&mut self, last: bool) -> io::Result<()> {
        let len = u32::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.inner.write_all(&(len | if last { LAST } else { 0 }).to_le_bytes())?;
        let nonce = self.chunks.nonce(last);
        let text = (&mut self.buffer[..]).into();
        let tag = self.chunks.cipher.encrypt_inout_detached((&nonce).into(), &self.chunks.context, text);
        let tag = tag.map_err(|_| io::Error::other(SealError::TooLarge))?;
        self.inner.write_all(&self.buffer)?;
        self.inner.write_all(&tag)?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.put(false)?;
        }
        let n = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend(&bytes[..n]);
        Ok(n)
    }

    /// Whole chunks only go out; the rest waits for more.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Opens what a [`SealedWriter`] wrote. A byte is given out only after its chunk was found whole; the end only after the
/// last chunk was.
pub struct SealedReader<R> {
    inner: R,
    chunks: Chunks,
    buffer: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: Read> SealedReader<R> {
    /// Reads a file that was sealed under `key` for `context`.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] with a [`SealError`] inside for another key or form; the reader's.
    pub fn new(mut inner: R, key: &DataKey, context: &[u8]) -> io::Result<Self> {
        let (mut form, mut id, mut salt) = ([0; 1], [0; 8], [0; NONCE]);
        inner.read_exact(&mut form)?;
        if form != [FORM] {
            return Err(invalid(SealError::Form));
        }
        inner.read_exact(&mut id)?;
        if KeyId(id) != key.id() {
            return Err(invalid(SealError::UnknownKey(KeyId(id))));
        }
        inner.read_exact(&mut salt)?;
        let chunks = Chunks::new(key, &salt, context).map_err(invalid)?;
        Ok(Self { inner, chunks, buffer: Vec::new(), given: 0, ended: false })
    }

    /// Whether the next chunk could be read and opened; it replaces the one given out.
    fn take(&mut self) -> io::Result<()> {
        let mut head = [0; 4];
        self.inner.read_exact(&mut head)?;
        let head = u32::from_le_bytes(head);
        let (len, last) = ((head & !LAST) as usize, head & LAST != 0);
        if len > CHUNK {
            return Err(invalid(SealError::Form));
        }
        self.buffer.resize(len, 0);
        self.inner.read_exact(&mut self.buffer)?;
        let mut tag = [0; TAG];
        self.inner.read_exact(&mut tag)?;
        let nonce = self.chunks.nonce(last);
        let text = (&mut self.buffer[..]).into();
        let opened =
            self.chunks.cipher.decrypt_inout_detached((&nonce).into(), &self.chunks.context, text, (&tag).into());
        if opened.is_err() {
            self.buffer.clear();
            return Err(invalid(SealError::Broken));
        }
        (self.given, self.ended) = (0, last);
        Ok(())
    }
}

impl<R: Read> Read for SealedReader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.given == self.buffer.len() {
            if self.ended || bytes.is_empty() {
                return Ok(0);
            }
            self.take()?;
        }
        let n = bytes.len().min(self.buffer.len() - self.given);
        bytes[..n].copy_from_slice(&self.buffer[self.given..self.given + n]);
        self.given += n;
        Ok(n)
    }
}

fn invalid(e: SealError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}
