//! The receipt of an erasure: what was removed from where, when, and that it was looked for afterwards. Made by the
//! gateway at the end of an erasure, signed; verified offline with the public keys alone.
//!
//! It names nobody. A subject is told by its handle (which only the store can compute) and by a digest that whoever
//! knows the id can check with the receipt's salt.

use domain::{CollectionId, SubjectId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Named subjects.
    Subjects,
    /// A collection and everybody in it.
    Collection,
}

/// How many of what were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Removed {
    /// Subjects with everything recorded of them.
    pub subjects: u64,
    /// Faces, each with its template.
    pub faces: u64,
    /// Consent records.
    pub consents: u64,
    /// Results of jobs.
    pub results: u64,
    /// Answers kept for idempotency keys.
    pub answers: u64,
    /// Items of bulk jobs that had not been begun, with their pictures.
    pub items: u64,
}

/// A place that was cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// `records`, `results`, `galleries`.
    pub name: String,
    /// When that was done.
    pub cleared_at: Timestamp,
}

/// What a look through all places found afterwards. All counts are 0 in a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// When it was looked for.
    pub at: Timestamp,
    /// Records of the subjects in the store.
    pub records_found: u64,
    /// Kept results and answers that mention them.
    pub mentions_found: u64,
    /// Rows of theirs in the galleries of the workers alive.
    pub gallery_rows_found: u64,
    /// Workers that looked.
    pub workers: u64,
}

/// How an erasure left a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SubjectOutcome {
    /// It was enrolled and is gone.
    Erased,
    /// It had been erased before.
    AlreadyErased,
    /// Nothing was recorded under this id but perhaps consents, which are gone.
    NotEnrolled,
}

/// One subject of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ErasedSubject {
    /// The name it went by in keys and goes by in the audit trail: a keyed hash.
    pub handle: String,
    /// See [`subject_digest`].
    pub digest: String,
    /// How it was left.
    pub outcome: SubjectOutcome,
    /// Since when the tombstone says that it is erased; absent for one that never was enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<Timestamp>,
    /// Faces removed, each with its template.
    pub faces: u32,
    /// Consents removed.
    pub consents: u32,
}

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// 1.
    pub version: u32,
    /// The erasure.
    pub erasure_id: String,
    /// Whose data it was.
    pub tenant: TenantId,
    /// The collection.
    pub collection_id: CollectionId,
    /// What was asked for.
    pub extent: Extent,
    /// Why, as the caller said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it was done and looked through.
    pub completed_at: Timestamp,
    /// What was removed.
    pub removed: Removed,
    /// Where it was removed from.
    pub places: Vec<Place>,
    /// That it was looked for afterwards.
    pub verification: Verification,
    /// Versions of models that had been trained on pictures of these subjects: those keep what they learnt.
    pub models_trained: Vec<String>,
    /// Random, hex; part of each digest.
    pub salt: String,
    /// Each subject, where subjects were named.
    pub subjects: Vec<ErasedSubject>,
}

impl Receipt {
    /// The entry about `subject`, if this receipt has one.
    #[must_use]
    pub fn about(&self, subject: &SubjectId) -> Option<&ErasedSubject> {
        let digest = subject_digest(&self.salt, &self.collection_id, subject);
        self.subjects.iter().find(|s| s.digest == digest)
    }
}

/// SHA-256 over salt, collection and subject id, hex: tells whoever knows the id that a receipt is about it.
#[must_use]
pub fn subject_digest(salt: &str, collection: &CollectionId, subject: &SubjectId) -> String {
    let mut hash = Sha256::new();
    for part in ["visavis-subject-v1", salt, collection.as_str(), subject.as_str()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}
