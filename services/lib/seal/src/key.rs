//! A data key: seals values under a context. Held in memory only unwrapped, wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    SealError,
    cipher::{self, KEY, NONCE},
    random,
};

/// First byte of everything sealed.
pub(crate) const FORM: u8 = 1;
const ID: usize = 8;

/// Which key: random for a data key, a digest for a key-encryption key. No secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; ID]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that seals any number of values.
#[derive(Clone)]
pub struct DataKey {
    id: KeyId,
    key: Zeroizing<[u8; KEY]>,
}

impl DataKey {
    /// A fresh one.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn generate() -> Result<Self, SealError> {
        let (mut id, mut key) = ([0; ID], Zeroizing::new([0; KEY]));
        random(&mut id)?;
        random(&mut key[..])?;
        Ok(Self { id: KeyId(id), key })
    }

    pub(crate) const fn of(id: KeyId, key: Zeroizing<[u8; KEY]>) -> Self {
        Self { id, key }
    }

    /// The key of [`DataKey::to_bytes`].
    ///
    /// # Errors
    /// [`SealError::Form`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let (id, key) = bytes.split_first_chunk::<ID>().ok_or(SealError::Form)?;
        let key: [u8; KEY] = key.try_into().map_err(|_| SealError::Form)?;
        Ok(Self { id: KeyId(*id), key: Zeroizing::new(key) })
    }

    /// The key itself, to be kept inside something sealed: whoever has it opens everything it sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&self.id.0[..], &self.key[..]].concat())
    }

    /// Its name, which everything it sealed carries.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn secret(&self) -> &[u8; KEY] {
        &self.key
    }

    /// `value` sealed for `context`: form, key's name, nonce, text, tag.
    ///
    /// # Errors
    /// [`SealError::Randomness`], [`SealError::TooLarge`].
    pub fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        random(&mut nonce)?;
        let mut out = Vec::with_capacity(crate::OVERHEAD + value.len());
        out.push(FORM);
        out.extend(self.id.0);
        out.extend(nonce);
        let from = out.len();
        out.extend(value);
        cipher::encrypt(&self.key, &nonce, context, &mut out, from)?;
        Ok(out)
    }

    /// What [`DataKey::seal`] sealed for the same context.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] when another key sealed it; [`SealError::Broken`], [`SealError::Form`].
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, nonce, text) = parts(sealed)?;
        if id != self.id {
            return Err(SealError::UnknownKey(id));
        }
        cipher::decrypt(&self.key, nonce, context, text)
    }

    /// Which key sealed this, if it has the form of something sealed.
    #[must_use]
    pub fn sealer(sealed: &[u8]) -> Option<KeyId> {
        parts(sealed).ok().map(|(id, ..)| id)
    }
}

fn parts(sealed: &[u8]) -> Result<(KeyId, &[u8; NONCE], &[u8]), SealError> {
    let rest = sealed.strip_prefix(&[FORM]).ok_or(SealError::Form)?;
    let (id, rest) = rest.split_first_chunk::<ID>().ok_or(SealError::Form)?;
    let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Form)?;
    if text.len() < cipher::TAG {
        return Err(SealError::Form);
    }
    Ok((KeyId(*id), nonce, text))
}

/// Secrets do not appear in logs.
impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens_only_there_whole_and_with_its_key(
            value in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let (key, other) = (DataKey::generate().unwrap(), DataKey::generate().unwrap());
            let mut sealed = key.seal(b"here", &value).unwrap();
            prop_assert_eq!(sealed.len(), value.len() + crate::OVERHEAD);
            prop_assert_eq!(&key.open(b"here", &sealed).unwrap(), &value);
            prop_assert_eq!(key.open(b"there", &sealed), Err(SealError::Broken));
            prop_assert_eq!(other.open(b"here", &sealed), Err(SealError::UnknownKey(key.id())));
            prop_assert!(value.len() < 8 || !sealed.windows(value.len()).any(|w| w == value));
            let cut = at.index(sealed.len());
            prop_assert!(key.open(b"here", &sealed[..cut]).is_err());
            sealed[cut] ^= 1 << bit;
            prop_assert!(key.open(b"here", &sealed).is_err());
        }
    }

    #[test]
    fn a_key_kept_inside_something_sealed_is_the_same_key_and_no_log_shows_it() {
        let key = DataKey::generate().unwrap();
        let again = DataKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(again.open(b"", &key.seal(b"", b"v").unwrap()).unwrap(), b"v");
        assert_eq!(DataKey::from_bytes(&key.to_bytes()[1..]).unwrap_err(), SealError::Form);
        assert_eq!(format!("{key:?}"), format!("DataKey({})", key.id()));
    }
}
