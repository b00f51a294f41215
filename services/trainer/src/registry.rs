//! Where candidates go. The trainer hands one over and gets its name; what becomes of it then is the registry's.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::{RunId, TenantId};
use objects::Objects;
use seal::DataKey;
use serde::{Deserialize, Serialize};
use store::{Commit, Space, Store};

use crate::{Halt, base::Base};

/// A model that a run came to.
pub struct Candidate<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// The run; registering it twice gives the same name.
    pub run: &'a RunId,
    /// The model it began with.
    pub base: &'a Base,
    /// The `.onnx` file.
    pub onnx: &'a [u8],
    /// Lineage and measures, by name.
    pub papers: &'a [(&'a str, Bytes)],
}

/// Takes candidates.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Registers a candidate; gives its name.
    ///
    /// # Errors
    /// `registry_refused`; store or objects that are away.
    async fn register(&self, candidate: Candidate<'_>) -> Result<String, Halt>;
}

/// Keeps candidates as sealed objects with a record each.
pub struct Shelf {
    store: Arc<dyn Store>,
    objects: Objects,
}

/// What is known of one.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The object.
    object: String,
    /// Its key, hex.
    key: String,
    /// Name of the model it began with.
    base: String,
    /// The run.
    run: RunId,
    /// SHA-256 of the file.
    sha256: String,
}

impl Shelf {
    /// Over a store and a place for objects.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, objects: Objects) -> Self {
        Self { store, objects }
    }
}

#[async_trait]
impl Registry for Shelf {
    async fn register(&self, candidate: Candidate<'_>) -> Result<String, Halt> {
        let Candidate { tenant, run, base, onnx, .. } = candidate;
        let (space, record) = (Space::tenant(tenant), format!("candidate/{run}"));
        if self.store.get(&space, &record).await?.is_some() {
            return Ok(run.to_string());
        }
        let (key, object) = (DataKey::generate()?, format!("models/{tenant}/{run}"));
        let sealed = key.seal(&seal::context(&["model", tenant.as_str(), run.as_str()]), onnx)?;
        self.objects.put(&object, Bytes::from(sealed)).await?;
        let kept = Kept {
            object,
            key: hex::encode(&key.to_bytes()[..]),
            base: base.manifest.name.clone(),
            run: run.clone(),
            sha256: crate::dataset::manifest::sha256(onnx),
        };
        let value = serde_json::to_vec(&kept).map_err(Halt::internal)?;
        self.store.commit(&space, Commit::new().put(record, value)).await?;
        Ok(run.to_string())
    }
}
