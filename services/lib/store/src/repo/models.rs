//! Registered models of a tenant: what is known of each, with the key that its file is sealed with, and what the gate
//! found when it was held against the model of a collection. Written by the registry and the worker; read by the gateway.
//! Where a model stands in a collection is told by that collection's own record alone.

use std::{collections::BTreeSet, fmt, sync::Arc};

use bytes::Bytes;
use domain::{CollectionId, ContractId, ErrorCode, ModelId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ATTEMPTS, BATCH, RepoError, Versioned, encode, read, versioned};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const PREFIX: &str = "model/";
const REPORTS: &str = "modelreport/";

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ModelOrigin {
    /// Somebody brought the file.
    Upload,
    /// A training run made it.
    TrainingRun {
        /// Its id.
        run: String,
    },
}

/// A registered model.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Its id.
    pub id: ModelId,
    /// Name, from its manifest.
    pub name: String,
    /// Contract of its templates.
    pub contract: ContractId,
    /// Its manifest's text.
    pub manifest: String,
    /// Checksum of its file, hex.
    pub sha256: String,
    /// Bytes of its file.
    pub bytes: u64,
    /// The key its file is sealed with, hex: as long as this record can be read the file can.
    pub key: String,
    /// Where it comes from.
    pub origin: ModelOrigin,
    /// Contract of the model it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ContractId>,
    /// What it was made with, as its maker tells it; names nobody.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub lineage: Value,
    /// Collections it was held against the models of.
    #[serde(default)]
    pub collections: BTreeSet<CollectionId>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Who registered it.
    pub created_by: String,
}

/// Secrets do not appear in logs.
impl fmt::Debug for ModelRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelRecord({}, {}, {} bytes)", self.id, self.contract, self.bytes)
    }
}

impl ModelRecord {
    /// Handles of those it was trained on in a collection, as its lineage tells: `trained_on`, by collection. Nothing where
    /// the lineage tells nothing of that at all.
    #[must_use]
    pub fn trained_on(&self, collection: &CollectionId) -> Option<Vec<&str>> {
        let told = self.lineage.get("trained_on")?;
        let listed = told.get(collection.as_str()).and_then(Value::as_array);
        Some(listed.into_iter().flatten().filter_map(Value::as_str).collect())
    }
}

/// What the gate found, as a document and as a page for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// When.
    pub at: Timestamp,
    /// Whether the model passed.
    pub passed: bool,
    /// The document.
    pub document: Value,
    /// The page.
    pub page: String,
}

/// The registered models of one tenant.
#[derive(Clone)]
pub struct Models {
    store: Arc<dyn Store>,
    space: Space,
}

impl Models {
    /// Of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId) -> Self {
        Self { store, space: Space::tenant(tenant) }
    }

    /// Adds a model.
    ///
    /// # Errors
    /// [`RepoError::AlreadyExists`].
    pub async fn create(&self, record: &ModelRecord) -> Result<Revision, RepoError> {
        let key = key(&record.id);
        let commit = Commit::new().when(Precondition::Absent(key.clone())).put(&key, encode(&key, record)?);
        match self.store.commit(&self.space, commit).await {
            Err(StoreError::Precondition { .. }) => Err(RepoError::AlreadyExists("model")),
            done => Ok(done?),
        }
    }

    /// The model of this id, if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self, id: &ModelId) -> Result<Option<Versioned<ModelRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, &key(id)).await?)
    }

    /// Up to `limit` models by id after the id `after`, with the cursor of the next page if there is one.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Versioned<ModelRecord>>, Option<String>), RepoError> {
        let after = after.map(|a| format!("{PREFIX}{a}"));
        let page = self.store.scan(&self.space, PREFIX, after.as_deref(), limit).await?;
        let next = page.records.last().filter(|_| page.more).map(|(k, _)| k[PREFIX.len()..].to_owned());
        let models = page.records.iter().map(|(k, r)| versioned(k, r)).collect::<Result<_, _>>()?;
        Ok((models, next))
    }

    /// Models that were trained on somebody of the collection who `is_meant`, by name and id.
    ///
    /// # Errors
    /// The store's.
    pub async fn trained_on(
        &self,
        collection: &CollectionId,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, RepoError> {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let (models, next) = self.list(after.as_deref(), BATCH).await?;
            let trained = models.into_iter().map(|m| m.value);
            let trained = trained.filter(|m| m.trained_on(collection).unwrap_or_default().into_iter().any(&is_meant));
            found.extend(trained.map(|m| format!("{}@{}", m.name, m.id)));
            after = next;
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// Puts down what the gate found, and that the model has to do with the collection.
    ///
    /// # Errors
    /// Model not found; the store's.
    pub async fn note(&self, id: &ModelId, collection: &CollectionId, report: &ModelReport) -> Result<(), RepoError> {
        let (key, report_key) = (key(id), report_key(id, collection));
        for _ in 0..ATTEMPTS {
            let found = self.get(id).await?.ok_or(RepoError::NotFound(ErrorCode::ModelNotFound))?;
            let mut record = found.value;
            record.collections.insert(collection.clone());
            let commit = Commit::new()
                .when(Precondition::Unchanged(key.clone(), found.version))
                .put(&key, encode(&key, &record)?)
                .put(&report_key, encode(&report_key, report)?);
            match self.store.commit(&self.space, commit).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(RepoError::Contended)
    }

    /// What the gate found for a collection.
    ///
    /// # Errors
    /// The store's.
    pub async fn report(&self, id: &ModelId, collection: &CollectionId) -> Result<Option<ModelReport>, RepoError> {
        Ok(read(&*self.store, &self.space, &report_key(id, collection)).await?.map(|r| r.value))
    }

    /// Erases a model's record, its key with it, and its reports.
    ///
    /// # Errors
    /// Not found; [`RepoError::VersionMismatch`] when `if_version` is not the present one.
    pub async fn delete(&self, id: &ModelId, if_version: Option<Revision>) -> Result<(), RepoError> {
        let key = key(id);
        let missing = || RepoError::NotFound(ErrorCode::ModelNotFound);
        let found = self.get(id).await?.ok_or_else(missing)?;
        if if_version.is_some_and(|v| v != found.version) {
            return Err(RepoError::VersionMismatch);
        }
        let mut commit = Commit::new().when(Precondition::Unchanged(key.clone(), found.version)).erase(&key);
        for collection in &found.value.collections {
            commit = commit.erase(report_key(id, collection));
        }
        match self.store.commit(&self.space, commit).await {
            Ok(_) => Ok(()),
            Err(StoreError::Precondition { .. }) => Err(RepoError::VersionMismatch),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether there is a record of this id; for who looks for files that belong to nobody.
    ///
    /// # Errors
    /// The store's.
    pub async fn knows(&self, id: &ModelId) -> Result<bool, RepoError> {
        let found: Option<Bytes> = self.store.get(&self.space, &key(id)).await?.map(|r| r.value);
        Ok(found.is_some())
    }
}

fn key(id: &ModelId) -> String {
    format!("{PREFIX}{id}")
}

fn report_key(id: &ModelId, collection: &CollectionId) -> String {
    format!("{REPORTS}{id}/{collection}")
}
