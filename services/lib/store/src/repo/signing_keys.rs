//! The keys that sign receipts and heads of audit trails: one in use, and the public halves of those before it. They lie
//! in the system's space. Used by the gateway.
//!
//! `signing`: the key in use with its private half; `signed/{kid}`: a public half.

use std::sync::Arc;

use domain::Timestamp;
use evidence::{Jwk, Jwks, SigningKey};
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, RepoError, all_records, damaged, decode, encode, read};
use crate::{Commit, Precondition, Space, Store, StoreError};

const CURRENT: &str = "signing";
const PUBLIC: &str = "signed/";

#[derive(Serialize, Deserialize)]
struct Current {
    kid: String,
    /// PKCS #8, hex.
    pkcs8: String,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Public {
    created_at: Timestamp,
    jwk: Jwk,
}

/// The signing keys of an installation.
#[derive(Clone)]
pub struct SigningKeys {
    store: Arc<dyn Store>,
}

impl SigningKeys {
    /// Over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The key in use; made on first use.
    ///
    /// # Errors
    /// The store's.
    pub async fn current(&self) -> Result<SigningKey, RepoError> {
        for _ in 0..ATTEMPTS {
            if let Some(found) = read::<Current>(&*self.store, &Space::system(), CURRENT).await? {
                let document = hex::decode(&found.value.pkcs8).map_err(|e| damaged(CURRENT, &e))?;
                return Ok(SigningKey::from_pkcs8(&document).map_err(|e| damaged(CURRENT, &e))?);
            }
            // Where another gateway is quicker, its key holds.
            self.replace(Precondition::Absent(CURRENT.into())).await?;
        }
        Err(RepoError::Contended)
    }

    /// Puts a fresh key into use. The former one's private half is erased; its public half stays, so that what it signed
    /// can be verified.
    ///
    /// # Errors
    /// The store's.
    pub async fn rotate(&self) -> Result<Jwk, RepoError> {
        for _ in 0..ATTEMPTS {
            let before = match read::<Current>(&*self.store, &Space::system(), CURRENT).await? {
                Some(found) => Precondition::Unchanged(CURRENT.into(), found.version),
                None => Precondition::Absent(CURRENT.into()),
            };
            if let Some(made) = self.replace(before).await? {
                return Ok(made);
            }
        }
        Err(RepoError::Contended)
    }

    /// Every public key, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn public(&self) -> Result<Jwks, RepoError> {
        self.current().await?;
        let records = all_records(&*self.store, &Space::system(), PUBLIC).await?;
        let mut keys: Vec<Public> = records.iter().map(|(k, r)| decode(k, &r.value)).collect::<Result<_, _>>()?;
        keys.sort_by(|a, b| (a.created_at, &a.jwk.kid).cmp(&(b.created_at, &b.jwk.kid)));
        Ok(Jwks { keys: keys.into_iter().map(|k| k.jwk).collect() })
    }

    async fn replace(&self, before: Precondition) -> Result<Option<Jwk>, RepoError> {
        let (key, document) = SigningKey::generate().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        let (jwk, created_at) = (key.public(), Timestamp::now());
        let current = Current { kid: jwk.kid.clone(), pkcs8: hex::encode(document), created_at };
        let public = format!("{PUBLIC}{}", jwk.kid);
        let listed = encode(&public, &Public { created_at, jwk: jwk.clone() })?;
        // Erased and then put anew: no earlier value under this key can be read any more.
        let first = matches!(before, Precondition::Absent(_));
        let commit = Commit::new().when(before);
        let commit = if first { commit } else { commit.erase(CURRENT) };
        let commit = commit.put(CURRENT, encode(CURRENT, &current)?).put(public, listed);
        match self.store.commit(&Space::system(), commit).await {
            Ok(_) => Ok(Some(jwk)),
            Err(StoreError::Precondition { .. }) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}
