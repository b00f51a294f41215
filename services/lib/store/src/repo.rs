//! Repositories: the field's records over any [`Store`]. Values are JSON but for templates and replies;
//! keys never hold anything a person could be recognised by, because keys are not erased the way values are.

mod audit;
mod bulk;
mod collections;
mod consents;
mod crops;
mod enrol;
mod erase;
mod erasures;
mod handle;
mod idempotency;
mod jobs;
mod keys;
mod leases;
mod mentions;
mod models;
mod promotions;
mod retention;
mod runs;
mod signing_keys;
mod subjects;
mod templates;
mod tenants;
mod transfer;
mod unenrolled;

use bytes::Bytes;
use domain::{ErrorCode, Timestamp};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Precondition, Record, Revision, Space, Store, StoreError};

pub use audit::{Audit, KnownHead, PAGE_EVENTS};
pub use bulk::{ItemResult, NewItem};
pub use collections::Collections;
pub(crate) use collections::META;
pub use consents::{ConsentRow, Consents, Withdrawal};
pub use crops::{CropOf, CropRecord, CropRecords};
pub use enrol::{EnrolSubject, Enrolment, Outcome};
pub use erase::{Erased, Note};
pub use erasures::{ERASED_AT_ONCE, ErasureLease, ErasureRecord, ErasureState, ErasureStep, Erasures};
pub use handle::{Pepper, SubjectHandle};
pub use idempotency::{Attempt, Begun, Idempotency, IdempotencySlot, StoredReply};
pub use jobs::Jobs;
pub use keys::{ApiKeys, Rotation};
pub use leases::Lease;
pub use mentions::{Forgotten, Mention, Mentions, Reach, Whom, erased_result};
pub use models::{ModelOrigin, ModelRecord, ModelReport, Models};
pub use promotions::{ChangeError, PromotionPhase, PromotionRecord, Promotions};
pub use retention::{DuePage, DueRemoved, Enrolled};
pub use runs::{Claim, LastRun, RunOrigin, RunRecord, Runs, SealedObject};
pub use signing_keys::SigningKeys;
pub use subjects::{Count, Lookup, Removed, Subjects};
pub use templates::{ChangedKey, HeldConsent, Present, SubjectRow, TemplateRow, Templates, Wanted};
pub use transfer::{ImportOutcome, WholeSubject};
pub use unenrolled::{Unenrolled, UnenrolledPage};

/// How often a change that lost a race is tried again before the caller hears of it.
const ATTEMPTS: usize = 16;

/// Most keys touched by one commit of a cascade.
const BATCH: usize = 1_000;

/// A record and the revision that wrote it, which serves as its entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// Revision that wrote it.
    pub version: Revision,
}

/// Why a repository did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record is no longer the one the caller saw.
    #[error("the record has changed meanwhile")]
    VersionMismatch,
    /// The id is taken.
    #[error("a {0} with this id exists already")]
    AlreadyExists(&'static str),
    /// No such record.
    #[error("{}", .0.title())]
    NotFound(ErrorCode),
    /// It existed and was erased.
    #[error("it was erased at {0}")]
    Erased(Timestamp),
    /// The job has ended, so it cannot be cancelled.
    #[error("the job has already ended")]
    JobEnded,
    /// The training run has ended, so it cannot be cancelled.
    #[error("the training run has already ended")]
    RunEnded,
    /// Others kept changing the record.
    #[error("the record is being changed by too many at once")]
    Contended,
}

impl RepoError {
    /// The code a caller sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Store(e) => e.code(),
            Self::VersionMismatch => ErrorCode::PreconditionFailed,
            Self::AlreadyExists(_) | Self::JobEnded | Self::RunEnded => ErrorCode::Conflict,
            Self::NotFound(code) => *code,
            Self::Erased(_) => ErrorCode::Erased,
            Self::Contended => ErrorCode::StoreUnavailable,
        }
    }
}

pub(crate) fn encode<T: Serialize>(key: &str, value: &T) -> Result<Bytes, StoreError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| damaged(key, &e))
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|e| damaged(key, &e))
}

fn versioned<T: DeserializeOwned>(key: &str, record: &Record) -> Result<Versioned<T>, StoreError> {
    Ok(Versioned { value: decode(key, &record.value)?, version: record.version })
}

fn damaged(key: &str, reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged { key: key.to_owned(), reason: reason.to_string() }
}

pub(crate) async fn read<T: DeserializeOwned>(
    store: &dyn Store,
    space: &Space,
    key: &str,
) -> Result<Option<Versioned<T>>, StoreError> {
    store.get(space, key).await?.map(|r| versioned(key, &r)).transpose()
}

/// "As it was when I looked": unchanged since `version`, or still absent.
pub(crate) fn as_seen(key: &str, version: Option<Revision>) -> Precondition {
    match version {
        Some(v) => Precondition::Unchanged(key.to_owned(), v),
        None => Precondition::Absent(key.to_owned()),
    }
}

/// Every key under `prefix`. For what belongs to one subject: bounded by its faces and consents.
async fn all_keys(store: &dyn Store, space: &Space, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut keys = Vec::new();
    loop {
        let page = store.keys(space, prefix, keys.last().map(String::as_str), BATCH).await?;
        keys.extend(page.keys);
        if !page.more {
            return Ok(keys);
        }
    }
}

/// Every record under `prefix`; same bound as [`all_keys`].
async fn all_records(store: &dyn Store, space: &Space, prefix: &str) -> Result<Vec<(String, Record)>, StoreError> {
    let mut records: Vec<(String, Record)> = Vec::new();
    loop {
        let page = store.scan(space, prefix, records.last().map(|(k, _)| k.as_str()), BATCH).await?;
        records.extend(page.records);
        if !page.more {
            return Ok(records);
        }
    }
}
