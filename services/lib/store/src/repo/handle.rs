//! The name a subject goes by in keys: a keyed hash of its id. Keys stay readable in the engine's files after an
//! erasure, so they must not tell whom they were about. Used by every repository about subjects.

use std::{fmt, str::FromStr};

use domain::{CollectionId, SubjectId, TenantId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::damaged;
use crate::{Commit, Precondition, Space, Store, StoreError};

const KEY: &str = "pepper";

/// The store's own secret, 32 random bytes made on first use.
#[derive(Clone, Copy)]
pub struct Pepper([u8; 32]);

impl Pepper {
    /// Reads the secret, or makes it if this store has none yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let space = Space::system();
        if let Some(record) = store.get(&space, KEY).await? {
            return Self::from_stored(&record.value);
        }
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
        let commit = Commit::new().when(Precondition::Absent(KEY.into())).put(KEY, fresh.to_vec());
        match store.commit(&space, commit).await {
            Ok(_) => Ok(Self(fresh)),
            // Another process was first: its secret holds.
            Err(StoreError::Precondition { .. }) => {
                let record =
                    store.get(&space, KEY).await?.ok_or_else(|| damaged(KEY, &"gone right after it was made"))?;
                Self::from_stored(&record.value)
            }
            Err(e) => Err(e),
        }
    }

    fn from_stored(value: &[u8]) -> Result<Self, StoreError> {
        value.try_into().map(Self).map_err(|_| damaged(KEY, &"not 32 bytes"))
    }

    /// The handle of a subject: the first half of HMAC-SHA256 over tenant, collection and subject id.
    #[must_use]
    pub fn handle(&self, tenant: &TenantId, collection: &CollectionId, subject: &SubjectId) -> SubjectHandle {
        SubjectHandle(self.digest(&[tenant.as_str(), collection.as_str(), subject.as_str()]))
    }

    /// A name for somebody outside the store, such as the subject of an identity provider's token: the same whenever it
    /// is asked for, and of no use without this store's secret. 32 lower-case hex digits.
    #[must_use]
    pub fn pseudonym(&self, issuer: &str, subject: &str) -> String {
        // Two parts, while a handle has three: neither is ever the other.
        hex::encode(self.digest(&[issuer, subject]))
    }

    /// The first half of HMAC-SHA256 over the parts, each after its length.
    fn digest(&self, parts: &[&str]) -> [u8; 16] {
        let mut half = [0; 16];
        // A key of exactly 32 bytes is always accepted; the empty digest is never reached.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return half };
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        half.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        half
    }
}

/// Secrets do not appear in logs.
impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper")
    }
}

/// A subject's name in keys: 16 bytes, 32 lower-case hex digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectHandle(pub [u8; 16]);

impl fmt::Display for SubjectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SubjectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SubjectHandle {
    type Err = hex::FromHexError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let mut handle = [0; 16];
        hex::decode_to_slice(s, &mut handle)?;
        Ok(Self(handle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_depend_on_every_part_and_on_where_one_ends() {
        let p = Pepper([7; 32]);
        let h = |t: &str, c: &str, s: &str| p.handle(&t.parse().unwrap(), &c.parse().unwrap(), &s.parse().unwrap());
        let one = h("acme", "staff", "anna");
        assert_eq!(one, h("acme", "staff", "anna"));
        for other in [h("acme", "staff", "anne"), h("acme", "guests", "anna"), h("acm", "estaff", "anna")] {
            assert_ne!(one, other);
        }
        assert_ne!(
            one,
            Pepper([8; 32]).handle(&"acme".parse().unwrap(), &"staff".parse().unwrap(), &"anna".parse().unwrap())
        );
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(one.to_string().len(), 32);
        let name = p.pseudonym("https://issuer.example", "anna");
        assert_eq!((name.len(), &name), (32, &p.pseudonym("https://issuer.example", "anna")));
        assert_ne!(name, p.pseudonym("https://issuer.exampl", "eanna"));
        assert_ne!(name, Pepper([8; 32]).pseudonym("https://issuer.example", "anna"));
    }
}
