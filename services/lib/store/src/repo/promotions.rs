//! Promotions: how far a collection has come on its way from one model to another. The record lies in the collection's
//! own space beside the collection's record, so that a phase and what it changes are one commit. Written by the worker
//! that carries a promotion out and by the gateway that begins a rollback.

use std::sync::Arc;

use domain::{Collection, CollectionId, ContractId, ErrorCode, JobId, ModelId, Problem, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, RepoError, Versioned, as_seen, collections::META, encode, read};
use crate::{Commit, Precondition, Revision, Space, Store, StoreError};

const KEY: &str = "promotion";

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromotionPhase {
    /// Every worker loads the model.
    Preparing,
    /// Faces are embedded with it.
    Embedding,
    /// Nothing more is to be embedded: the switch is next.
    Switching,
    /// Templates of models that are not wanted any more are removed.
    Tidying,
    /// Everything is as it should be.
    Done,
}

/// A promotion under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromotionRecord {
    /// The job that carries it out.
    pub job: JobId,
    /// The model it is about; absent for one that the deployment brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// Its contract.
    pub contract: ContractId,
    /// What is being done.
    pub phase: PromotionPhase,
    /// Where to go on: the last key that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Faces there were when embedding began.
    #[serde(default)]
    pub faces: u64,
    /// Faces looked at.
    #[serde(default)]
    pub seen: u64,
    /// Of these, embedded with the new model.
    #[serde(default)]
    pub embedded: u64,
    /// Of these, in the present pass through all of them.
    #[serde(default)]
    pub embedded_in_pass: u64,
    /// Of these, without a retained crop.
    #[serde(default)]
    pub without_crops: u64,
    /// Whether the switch has been made.
    #[serde(default)]
    pub switched: bool,
    /// Why it does not get on, or why it ended without a switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last got on.
    pub updated_at: Timestamp,
}

impl PromotionRecord {
    /// One that begins now.
    #[must_use]
    pub fn new(job: JobId, (model, contract): (Option<ModelId>, ContractId), phase: PromotionPhase) -> Self {
        let now = Timestamp::now();
        Self {
            job,
            model,
            contract,
            phase,
            after: None,
            faces: 0,
            seen: 0,
            embedded: 0,
            embedded_in_pass: 0,
            without_crops: 0,
            switched: false,
            trouble: None,
            started_at: now,
            updated_at: now,
        }
    }
}

/// The promotions of one collection.
#[derive(Clone)]
pub struct Promotions {
    store: Arc<dyn Store>,
    space: Space,
}

impl Promotions {
    /// Of `collection` of `tenant`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tenant: &TenantId, collection: &CollectionId) -> Self {
        Self { store, space: Space::collection(tenant, collection) }
    }

    /// The promotion under way, or the last one.
    ///
    /// # Errors
    /// The store's.
    pub async fn get(&self) -> Result<Option<Versioned<PromotionRecord>>, RepoError> {
        Ok(read(&*self.store, &self.space, KEY).await?)
    }

    /// Puts down how far a promotion has come; false when somebody else has put down something else meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn advance(&self, record: &PromotionRecord, seen: Revision) -> Result<bool, RepoError> {
        let condition = Precondition::Unchanged(KEY.into(), seen);
        match self.store.commit(&self.space, Commit::new().when(condition).put(KEY, encode(KEY, record)?)).await {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Changes the collection's models and the promotion's record in one commit. `change` gets both as they are and gives
    /// the record as it is to be; it is asked again where somebody else was quicker.
    ///
    /// # Errors
    /// What `change` says; collection not found, [`RepoError::VersionMismatch`] where `if_version` is not the present one.
    pub async fn change(
        &self,
        if_version: Option<Revision>,
        change: impl Fn(&mut Collection, Option<PromotionRecord>) -> Result<PromotionRecord, Problem> + Send,
    ) -> Result<(Versioned<Collection>, PromotionRecord), ChangeError> {
        for _ in 0..ATTEMPTS {
            let before = self.get().await?;
            let found = read::<Collection>(&*self.store, &self.space, META).await.map_err(RepoError::from)?;
            let found = found.ok_or(RepoError::NotFound(ErrorCode::CollectionNotFound))?;
            if if_version.is_some_and(|v| v != found.version) {
                return Err(RepoError::VersionMismatch.into());
            }
            let (version, seen, mut collection) = (found.version, before.as_ref().map(|b| b.version), found.value);
            let record = change(&mut collection, before.map(|b| b.value))?;
            collection.updated_at = Timestamp::now();
            let commit = Commit::new()
                .when(Precondition::Unchanged(META.into(), version))
                .when(as_seen(KEY, seen))
                .put(META, encode(META, &collection).map_err(RepoError::from)?)
                .put(KEY, encode(KEY, &record).map_err(RepoError::from)?);
            match self.store.commit(&self.space, commit).await {
                Ok(version) => return Ok((Versioned { value: collection, version }, record)),
                Err(StoreError::Precondition { .. }) => {}
                Err(e) => return Err(RepoError::from(e).into()),
            }
        }
        Err(RepoError::Contended.into())
    }
}

/// Why a collection's models were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The store, or a condition.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The change does not fit the present state.
    #[error(transparent)]
    Refused(#[from] Problem),
}
