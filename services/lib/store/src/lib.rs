//! Records with atomic commits and a change feed: the trait, its engines (redb, embedded, and Redis, shared), the seal
//! over either, and the repositories.

#[cfg(feature = "conformance")]
pub mod conformance;
mod engine;
mod error;
mod redb;
mod redis;
mod repo;
mod schema;
mod sealed;
#[cfg(feature = "conformance")]
pub mod tapped;

pub use engine::{
    Change, Changes, Commit, Durability, Keys, Mark, Op, Page, Precondition, Record, Revision, Space, Store,
};
pub use error::StoreError;
pub use redb::{RedbOptions, RedbStore};
pub use redis::{Appendfsync, EraseMode, RedisStore, RedisStoreOptions};
pub use repo::{
    ApiKeys, Attempt, Audit, Begun, ChangeError, ChangedKey, Claim, Collections, ConsentRow, Consents, Count, CropOf,
    CropRecord, CropRecords, DuePage, DueRemoved, ERASED_AT_ONCE, EnrolSubject, Enrolled, Enrolment, Erased,
    ErasureLease, ErasureRecord, ErasureState, ErasureStep, Erasures, Forgotten, HeldConsent, Idempotency,
    IdempotencySlot, ImportOutcome, ItemResult, Jobs, KnownHead, LastRun, Lease, Lookup, Mention, Mentions,
    ModelOrigin, ModelRecord, ModelReport, Models, NewItem, Note, Outcome, PAGE_EVENTS, Pepper, Present,
    PromotionPhase, PromotionRecord, Promotions, Reach, Removed, RepoError, Rotation, RunOrigin, RunRecord, Runs,
    SealedObject, SigningKeys, StoredReply, SubjectHandle, SubjectRow, Subjects, TemplateRow, Templates, Unenrolled,
    UnenrolledPage, Versioned, Wanted, WholeSubject, Whom, Withdrawal, erased_result,
};
pub use schema::{Schema, bring_up, check};
pub use sealed::{Rewrapped, SealedStore};
