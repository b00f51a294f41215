//! Key-encryption keys. The first of a keyring wraps data keys, all of them unwrap: that is how one replaces another.
//! Made by the binary from a file, a variable or a command's output.

use std::{fmt, io};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{DataKey, KeyId, PurposeKeys, SealError, SealedReader, SealedWriter, cipher::KEY, random};

/// Bytes of a wrapped key at most; what claims to be longer is none.
const LONGEST_WRAPPED: usize = 256;

/// Key-encryption keys, at least one.
#[derive(Clone)]
pub struct Keyring {
    first: Kek,
    former: Vec<Kek>,
}

#[derive(Clone)]
struct Kek {
    root: Zeroizing<[u8; KEY]>,
    wrapping: DataKey,
}

impl Kek {
    fn new(root: Zeroizing<[u8; KEY]>) -> Result<Self, SealError> {
        let digest = subkey(&root, b"visavis key-encryption key id")?;
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        let wrapping = DataKey::of(KeyId(id), subkey(&root, b"visavis wrap")?);
        Ok(Self { root, wrapping })
    }
}

impl Keyring {
    /// The keys of a text: one a line, 32 bytes in hexadecimal or base64, the one in use first. Blank lines and what
    /// follows a `#` are passed over.
    ///
    /// # Errors
    /// [`SealError::NoKey`], [`SealError::KeyText`], [`SealError::Repeated`]; none shows the text.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut keys: Vec<Kek> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let word = line.split_once('#').map_or(line, |(before, _)| before).trim();
            if word.is_empty() {
                continue;
            }
            let kek = Kek::new(key_of(word).ok_or(SealError::KeyText(number))?)?;
            if keys.iter().any(|k| k.wrapping.id() == kek.wrapping.id()) {
                return Err(SealError::Repeated(number));
            }
            keys.push(kek);
        }
        if keys.is_empty() {
            return Err(SealError::NoKey);
        }
        let first = keys.remove(0);
        Ok(Self { first, former: keys })
    }

    /// A fresh key-encryption key, as text.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn fresh_key() -> Result<Zeroizing<String>, SealError> {
        let mut key = Zeroizing::new([0; KEY]);
        random(&mut key[..])?;
        Ok(Zeroizing::new(hex::encode(&key[..])))
    }

    /// The key that wraps.
    #[must_use]
    pub const fn active(&self) -> KeyId {
        self.first.wrapping.id()
    }

    /// All of them, the one that wraps first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.all().map(|k| k.wrapping.id())
    }

    fn all(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.first).chain(&self.former)
    }

    /// `key` wrapped for `context` with the active key-encryption key.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> Result<Vec<u8>, SealError> {
        self.first.wrapping.seal(context, &key.to_bytes())
    }

    /// The key that was wrapped for `context`.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] when none of these keys wrapped it; [`SealError::Broken`], [`SealError::Form`].
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, SealError> {
        let id = Self::wrapper(wrapped).ok_or(SealError::Form)?;
        let kek = self.all().find(|k| k.wrapping.id() == id).ok_or(SealError::UnknownKey(id))?;
        DataKey::from_bytes(&Zeroizing::new(kek.wrapping.open(context, wrapped)?))
    }

    /// Which key-encryption key wrapped this, if it has the form of a wrapped key.
    #[must_use]
    pub fn wrapper(wrapped: &[u8]) -> Option<KeyId> {
        DataKey::sealer(wrapped)
    }

    /// Keys for messages that no data key is kept for, such as those on a queue: one derived from each key-encryption
    /// key, under a name of their own.
    ///
    /// # Errors
    /// None in practice: a derivation from 32 bytes does not fail.
    pub fn purpose(&self, name: &str) -> Result<PurposeKeys, SealError> {
        let label = [b"visavis purpose ", name.as_bytes()].concat();
        let derive = |kek: &Kek| Ok(DataKey::of(kek.wrapping.id(), subkey(&kek.root, &label)?));
        let former = self.former.iter().map(derive).collect::<Result<_, SealError>>()?;
        Ok(PurposeKeys::new(derive(&self.first)?, former))
    }

    /// Begins a file that is sealed under a data key of its own, which stands wrapped at its beginning.
    ///
    /// # Errors
    /// The writer's.
    pub fn seal_file<W: io::Write>(&self, mut to: W, context: &[u8]) -> io::Result<SealedWriter<W>> {
        let key = DataKey::generate().map_err(io::Error::other)?;
        let wrapped = self.wrap(&key, context).map_err(io::Error::other)?;
        to.write_all(&u16::try_from(wrapped.len()).map_err(io::Error::other)?.to_le_bytes())?;
        to.write_all(&wrapped)?;
        SealedWriter::new(to, &key, context)
    }

    /// Reads a file of [`Keyring::seal_file`].
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] with a [`SealError`] inside when it does not open; the reader's.
    pub fn open_file<R: io::Read>(&self, mut from: R, context: &[u8]) -> io::Result<SealedReader<R>> {
        let invalid = |e: SealError| io::Error::new(io::ErrorKind::InvalidData, e);
        let mut len = [0; 2];
        from.read_exact(&mut len)?;
        let len = usize::from(u16::from_le_bytes(len));
        if len > LONGEST_WRAPPED {
            return Err(invalid(SealError::Form));
        }
        let mut wrapped = vec![0; len];
        from.read_exact(&mut wrapped)?;
        let key = self.unwrap(&wrapped, context).map_err(invalid)?;
        SealedReader::new(from, &key, context)
    }
}

/// Shows which keys, not the keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ids()).finish()
    }
}

fn key_of(word: &str) -> Option<Zeroizing<[u8; KEY]>> {
    let bytes = Zeroizing::new(hex::decode(word).or_else(|_| STANDARD.decode(word)).ok()?);
    Some(Zeroizing::new(bytes[..].try_into().ok()?))
}

/// A key of its own for each use of a root key: HMAC-SHA-256 over the use's label.
pub(crate) fn subkey(root: &[u8; KEY], label: &[u8]) -> Result<Zeroizing<[u8; KEY]>, SealError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(root).map_err(|_| SealError::Form)?;
    mac.update(label);
    let mut key = Zeroizing::new([0; KEY]);
    key.copy_from_slice(&mac.finalize().into_bytes());
    Ok(key)
}
