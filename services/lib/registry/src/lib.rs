//! Registered models: an embedder beside the one that the deployment brought along, for one tenant. Weights made from
//! faces are treated as those are: each file is an object sealed under a key of its own, which lies in the model's record
//! in the store and goes with it. The gateway registers and deletes, trainers register, workers read.

mod error;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{ContractId, ModelId, TenantId, Timestamp};
use futures::StreamExt;
use models::{Manifest, Model, Target};
use objects::Objects;
use seal::DataKey;
use serde_json::Value;
use store::{ModelOrigin, ModelRecord, Models, Revision, Store, Versioned};

pub use error::RegistryError;

/// First part of the names of all objects.
const ROOT: &str = "models";

/// A model to be registered.
#[derive(Clone, Debug)]
pub struct NewModel {
    /// Its id.
    pub id: ModelId,
    /// The file.
    pub onnx: Bytes,
    /// What is known about it.
    pub manifest: Manifest,
    /// Contract of the model it was made from, if from one.
    pub parent: Option<ContractId>,
    /// Where it comes from.
    pub origin: ModelOrigin,
    /// What it was made with; names nobody.
    pub lineage: Value,
    /// Who registers it.
    pub by: String,
}

/// What the deployment asks of models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Whether licences that forbid commercial use are accepted.
    pub accept_licence: bool,
}

/// The models of every tenant; cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    objects: Objects,
    rules: Rules,
}

impl Registry {
    /// Over a store and the place of its objects, which has been seen to be this store's own.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, objects: Objects, rules: Rules) -> Self {
        Self { store, objects, rules }
    }

    /// The records of a tenant's models.
    #[must_use]
    pub fn records(&self, tenant: &TenantId) -> Models {
        Models::new(Arc::clone(&self.store), tenant)
    }

    /// Takes a model in, once it is seen to be what its manifest says. The record with the key comes first, so that of two
    /// who want one id the second writes nothing; a repetition of the same request writes a file that is missing.
    ///
    /// # Errors
    /// [`RegistryError::Unfit`] for what is no embedder that can be served; the store's, the objects'; the id is taken.
    pub async fn register(&self, tenant: &TenantId, new: NewModel) -> Result<Versioned<ModelRecord>, RegistryError> {
        let contract = check(&new.manifest, self.rules)?;
        let (graph, named) = (new.onnx.clone(), new.manifest.clone());
        // Reading and rewriting a graph of many megabytes takes a while.
        let read = move || Model::of_bytes(&named, PathBuf::from(&named.file), &graph, Target::Cpu).map(drop);
        off_the_async_threads(read).await?.map_err(|e| RegistryError::Unfit(e.to_string()))?;
        let (records, onnx) = (self.records(tenant), new.onnx.clone());
        let (made, fresh) = match records.get(&new.id).await? {
            Some(there) if there.value.sha256 == new.manifest.sha256.to_string() => (there, false),
            Some(_) => return Err(RegistryError::Taken),
            None => {
                let record = record(new, contract)?;
                (Versioned { version: records.create(&record).await?, value: record }, true)
            }
        };
        let (key, id) = (data_key(&made.value)?, &made.value.id);
        let context = context(tenant, id);
        let sealed = off_the_async_threads(move || key.seal(&context, &onnx)).await??;
        if let Err(e) = self.objects.put(&name(tenant, id), Bytes::from(sealed)).await {
            if fresh {
                records.delete(id, Some(made.version)).await?;
            }
            return Err(e.into());
        }
        Ok(made)
    }

    /// The model's file, verified, with its manifest.
    ///
    /// # Errors
    /// [`RegistryError::Gone`] where the object is not there; the store's, the objects', an object that does not open.
    pub async fn read(&self, tenant: &TenantId, record: &ModelRecord) -> Result<(Manifest, Vec<u8>), RegistryError> {
        let manifest = manifest_of(record)?;
        let found = self.objects.get(&name(tenant, &record.id)).await?;
        let sealed = found.ok_or(RegistryError::Gone)?;
        let (key, context) = (data_key(record)?, context(tenant, &record.id));
        let onnx = off_the_async_threads(move || key.open(&context, &sealed)).await??;
        Ok((manifest, onnx))
    }

    /// Deletes a model: its record, whose key nothing else holds, then its object.
    ///
    /// # Errors
    /// Not found, not at this version; the store's, the objects'.
    pub async fn delete(
        &self,
        tenant: &TenantId,
        id: &ModelId,
        version: Option<Revision>,
    ) -> Result<(), RegistryError> {
        self.records(tenant).delete(id, version).await?;
        Ok(self.objects.delete(&[name(tenant, id)]).await?)
    }

    /// Deletes objects without a record, older than `older`: what a registration that died left behind. How many.
    ///
    /// # Errors
    /// The store's and the objects'.
    pub async fn sweep(&self, older: Duration) -> Result<u64, RegistryError> {
        let (mut deleted, mut listed) = (0, self.objects.list(ROOT));
        while let Some(found) = listed.next().await {
            let found = found?;
            let Some((tenant, id)) = parse(&found.name) else { continue };
            let old = Timestamp::now().since(found.written_at) >= older;
            if old && !self.records(&tenant).knows(&id).await? {
                self.objects.delete(&[found.name]).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.objects.place())
    }
}

/// A record's manifest.
///
/// # Errors
/// For one that cannot be read any more.
pub fn manifest_of(record: &ModelRecord) -> Result<Manifest, RegistryError> {
    Ok(Manifest::parse(&record.name, &record.manifest)?)
}

/// Whether this may be a model of a collection at all; its contract.
fn check(manifest: &Manifest, rules: Rules) -> Result<ContractId, RegistryError> {
    let unfit = |why: &str| RegistryError::Unfit(why.to_owned());
    let contract = manifest.contract().ok_or_else(|| unfit("only embedders are registered, and this is none"))?;
    manifest.permit(rules.accept_licence).map_err(|e| RegistryError::Unfit(e.to_string()))?;
    Ok(contract)
}

/// What is put down of a model, with a key of its own.
fn record(new: NewModel, contract: ContractId) -> Result<ModelRecord, RegistryError> {
    let NewModel { id, onnx, manifest, parent, origin, lineage, by } = new;
    Ok(ModelRecord {
        id,
        name: manifest.name.clone(),
        contract,
        manifest: manifest.to_toml("as told by who registered the model")?,
        sha256: manifest.sha256.to_string(),
        bytes: onnx.len() as u64,
        key: hex::encode(&DataKey::generate()?.to_bytes()[..]),
        origin,
        parent,
        lineage,
        collections: Default::default(),
        created_at: Timestamp::now(),
        created_by: by,
    })
}

fn data_key(record: &ModelRecord) -> Result<DataKey, RegistryError> {
    let key = hex::decode(&record.key).map_err(|_| seal::SealError::Form)?;
    Ok(DataKey::from_bytes(&key)?)
}

fn name(tenant: &TenantId, id: &ModelId) -> String {
    format!("{ROOT}/{tenant}/{id}")
}

fn parse(name: &str) -> Option<(TenantId, ModelId)> {
    let (tenant, id) = name.strip_prefix(ROOT)?.strip_prefix('/')?.split_once('/')?;
    Some((TenantId::new(tenant).ok()?, ModelId::new(id).ok()?))
}

/// What an object is bound to: it opens nowhere else.
fn context(tenant: &TenantId, id: &ModelId) -> Vec<u8> {
    seal::context(&["model", tenant.as_str(), id.as_str()])
}

async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RegistryError::Interrupted)
}
