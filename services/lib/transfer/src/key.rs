//! The key of an export: made by whoever exports, given with the request, kept by nobody here.

use std::{collections::BTreeSet, fmt};

use seal::DataKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::TransferError;

/// Bytes of a key.
const BYTES: usize = 32;
/// Different bytes that 32 random ones have but for fewer than one draw in a billion; text and patterns have fewer.
const DIFFERENT: usize = 16;

/// An export key.
#[derive(Clone)]
pub struct ExportKey(DataKey);

impl ExportKey {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`TransferError::KeyForm`]; [`TransferError::KeyWeak`] for what was plainly not drawn at random.
    pub fn parse(text: &str) -> Result<Self, TransferError> {
        let mut key = Zeroizing::new([0; BYTES]);
        hex::decode_to_slice(text.trim(), &mut key[..]).map_err(|_| TransferError::KeyForm)?;
        if key.iter().collect::<BTreeSet<_>>().len() < DIFFERENT {
            return Err(TransferError::KeyWeak);
        }
        // Its name is a digest, so that the same key has the same name anywhere.
        let digest = Sha256::new().chain_update(b"visavis export key").chain_update(&key[..]).finalize();
        let named = Zeroizing::new([&digest[..8], &key[..]].concat());
        DataKey::from_bytes(&named).map(Self).map_err(|_| TransferError::KeyForm)
    }

    /// Its name, which is no secret.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    pub(crate) const fn data_key(&self) -> &DataKey {
        &self.0
    }
}

/// Shows which key, not the key.
impl fmt::Debug for ExportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportKey({})", self.0.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "8f1d3b5c7092a4e6b8cdf01325476981a3c5e7092b4d6f8193b5d7f90a1c2e3f";

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_random() {
        let key = ExportKey::parse(KEY).unwrap();
        assert_eq!(key.id(), ExportKey::parse(&format!(" {}\n", KEY.to_uppercase())).unwrap().id());
        assert!(!format!("{key:?}").contains(&KEY[..16]) && !key.id().contains(&KEY[..16]));
        for bad in ["", "secret", &KEY[..62], &format!("{KEY}00"), &KEY.replace('8', "g")] {
            assert_eq!(ExportKey::parse(bad).unwrap_err(), TransferError::KeyForm, "{bad}");
        }
        let text = hex::encode("password password password passw");
        for weak in ["00".repeat(32), "0123456789abcdef".repeat(4), text] {
            assert_eq!(ExportKey::parse(&weak).unwrap_err(), TransferError::KeyWeak, "{weak}");
        }
    }
}
