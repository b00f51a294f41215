//! Sealing at rest. A [`DataKey`] seals values and files; a [`Keyring`] of key-encryption keys wraps data keys, so that a
//! key can be replaced without touching what it protects, and destroyed to make that unreadable. Callers: the store's
//! sealed engine, the queue, the gallery's snapshots, and whoever keeps crops or writes exports.
//!
//! Everything is bound to a *context*, such as the space and key of a record: what was sealed for one place does not open
//! at another. See the decision record on sealing.

mod aside;
mod cipher;
mod error;
mod key;
mod keyring;
mod purpose;
mod stream;

pub use aside::aside;
pub use error::SealError;
pub use key::{DataKey, KeyId};
pub use keyring::Keyring;
pub use purpose::PurposeKeys;
pub use stream::{SealedReader, SealedWriter};

/// Bytes that sealing adds to a value.
pub const OVERHEAD: usize = 1 + 8 + cipher::NONCE + cipher::TAG;

/// The context of these parts, unambiguous wherever one ends and the next begins.
#[must_use]
pub fn context(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| 8 + p.len()).sum());
    for part in parts {
        out.extend((part.len() as u64).to_le_bytes());
        out.extend(part.as_bytes());
    }
    out
}

/// Fills `bytes` from the system's randomness.
fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|e| SealError::Randomness(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::context;

    #[test]
    fn contexts_tell_where_a_part_ends() {
        let all = [context(&["ab", "c"]), context(&["a", "bc"]), context(&["abc"]), context(&["ab", "c", ""])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }
}
