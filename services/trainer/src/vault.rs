//! Checkpoints and trained models as sealed objects: weights that have learnt from faces lie nowhere in the clear. Each is
//! sealed under a key of its own that stands in the run's record, and has a name of its own, so that a trainer which was
//! taken for dead writes over nothing.

use std::fmt;

use bytes::Bytes;
use domain::{JobId, RunId, TenantId};
use futures::TryStreamExt;
use objects::Objects;
use seal::DataKey;
use store::SealedObject;

use crate::Halt;

/// First part of every name.
const ROOT: &str = "training";

/// Where objects of one run lie.
#[derive(Clone)]
pub struct Vault {
    objects: Objects,
    tenant: TenantId,
    run: RunId,
}

impl Vault {
    /// Of a run.
    #[must_use]
    pub const fn new(objects: Objects, tenant: TenantId, run: RunId) -> Self {
        Self { objects, tenant, run }
    }

    /// Seals and writes.
    ///
    /// # Errors
    /// A full disk is the run's failure; objects that are away are waited for.
    pub async fn put(&self, what: &str, text: &[u8]) -> Result<SealedObject, Halt> {
        let key = DataKey::generate()?;
        let name = format!("{}/{what}-{}", self.prefix(), JobId::generate());
        let sealed = key.seal(&self.context(&name), text)?;
        self.objects.put(&name, Bytes::from(sealed)).await?;
        Ok(SealedObject { name, key: hex::encode(&key.to_bytes()[..]) })
    }

    /// Reads and opens; nothing where the object is gone.
    ///
    /// # Errors
    /// Objects that are away, an object that does not open.
    pub async fn open(&self, object: &SealedObject) -> Result<Option<Vec<u8>>, Halt> {
        let Some(sealed) = self.objects.get(&object.name).await? else { return Ok(None) };
        let key = hex::decode(&object.key).map_err(|_| seal::SealError::Form)?;
        Ok(Some(DataKey::from_bytes(&key)?.open(&self.context(&object.name), &sealed)?))
    }

    /// Deletes one.
    ///
    /// # Errors
    /// Objects that are away.
    pub async fn delete(&self, object: &SealedObject) -> Result<(), Halt> {
        Ok(self.objects.delete(std::slice::from_ref(&object.name)).await?)
    }

    /// Deletes all that there is of the run.
    ///
    /// # Errors
    /// Objects that are away.
    pub async fn clear(&self) -> Result<(), Halt> {
        let names: Vec<String> = self.objects.list(&self.prefix()).map_ok(|l| l.name).try_collect().await?;
        Ok(self.objects.delete(&names).await?)
    }

    fn prefix(&self) -> String {
        format!("{ROOT}/{}/{}", self.tenant, self.run)
    }

    fn context(&self, name: &str) -> Vec<u8> {
        seal::context(&["training", self.tenant.as_str(), self.run.as_str(), name])
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.run)
    }
}
