//! What the redb file holds: its tables, the form of a stored value, and the sealing of values.

use ::redb::TableDefinition;
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::AeadInOut};
use domain::Timestamp;

use super::disk;
use crate::{Revision, StoreError};

/// About the store itself: under `keys` the id of its key file.
pub const STORE: TableDefinition<&str, &[u8]> = TableDefinition::new("store");
/// Space name → number, last revision.
pub const SPACES: TableDefinition<&str, (u32, u64)> = TableDefinition::new("spaces");
/// Space number (big-endian) and key → value in the form of [`Head`].
pub const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// Space number, revision → keys, each after its length.
pub const FEED: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("feed");
/// Moment of expiry in ms, key in [`RECORDS`].
pub const EXPIRY: TableDefinition<(i64, &[u8]), ()> = TableDefinition::new("expiry");
/// Which key slots are in use, a bit each, by chunk of [`super::slots::CHUNK`].
pub const SLOTS: TableDefinition<u32, &[u8]> = TableDefinition::new("slots");

/// A key of AES-256-GCM, used for one value only.
pub type SealingKey = [u8; 32];

const HEAD: usize = 24;
const TAG: usize = 16;
const NEVER: i64 = i64::MAX;

/// What precedes a sealed value: little-endian revision, expiry in ms, key slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub version: Revision,
    pub expires_at: Option<Timestamp>,
    pub slot: u64,
}

impl Head {
    /// The head of a stored value; `None` if it is cut short.
    pub fn parse(stored: &[u8]) -> Option<Self> {
        let (version, rest) = stored.split_first_chunk::<8>()?;
        let (expiry, rest) = rest.split_first_chunk::<8>()?;
        let (slot, rest) = rest.split_first_chunk::<8>()?;
        let expiry = i64::from_le_bytes(*expiry);
        (rest.len() >= TAG).then_some(Self {
            version: Revision(u64::from_le_bytes(*version)),
            expires_at: (expiry != NEVER).then_some(Timestamp::from_millis(expiry)),
            slot: u64::from_le_bytes(*slot),
        })
    }

    /// Whether the value reads as absent.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|t| t <= now)
    }

    /// The stored form of `value` under the record key `at`, to which the seal binds it. The nonce may be
    /// constant since no key seals twice.
    pub fn seal(&self, at: &[u8], value: &[u8], key: &SealingKey) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(HEAD + value.len() + TAG);
        out.extend(self.version.0.to_le_bytes());
        out.extend(self.expires_at.map_or(NEVER, Timestamp::as_millis).to_le_bytes());
        out.extend(self.slot.to_le_bytes());
        let bound = [&out[..], at].concat();
        out.extend(value);
        let tag = Aes256Gcm::new(key.into())
            .encrypt_inout_detached(&Nonce::default(), &bound, (&mut out[HEAD..]).into())
            .map_err(|_| StoreError::Unavailable("a value is too large to be sealed".into()))?;
        out.extend(tag);
        Ok(out)
    }
}

/// The value sealed in `stored` under the record key `at`; `None` if the key is not the one it was sealed with.
pub fn unseal(at: &[u8], stored: &[u8], key: &SealingKey) -> Option<Vec<u8>> {
    let (head, sealed) = stored.split_at_checked(HEAD)?;
    let (sealed, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut value = sealed.to_vec();
    let bound = [head, at].concat();
    Aes256Gcm::new(key.into())
        .decrypt_inout_detached(&Nonce::default(), &bound, (&mut value[..]).into(), tag.into())
        .ok()?;
    Some(value)
}

/// Where the record `key` of space number `space` lies.
pub fn record_key(space: u32, key: &str) -> Vec<u8> {
    [&space.to_be_bytes(), key.as_bytes()].concat()
}

/// Space number and key of a place in [`RECORDS`].
pub fn split_record_key(at: &[u8]) -> Option<(u32, &str)> {
    let (space, key) = at.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*space), std::str::from_utf8(key).ok()?))
}

/// Keys in the form of [`FEED`], each once.
pub fn write_keys<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for key in keys.filter(|k| seen.insert(*k)) {
        out.extend(u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(key.as_bytes());
    }
    out
}

/// Reads the form of [`write_keys`].
pub fn read_keys(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        keys.push(std::str::from_utf8(key).ok()?.to_owned());
        bytes = rest;
    }
    bytes.is_empty().then_some(keys)
}

/// Any failure of the engine or its files.
pub fn unavailable<E: std::fmt::Display + 'static>(e: E) -> StoreError {
    let said = e.to_string();
    if disk::takes_no_more(&e) { StoreError::NoRoom(said) } else { StoreError::Unavailable(said) }
}
