//! Records with atomic commits and a change feed: the trait, its engines (redb, embedded, and Redis, shared), the seal
//! over either, and the repositories.

#[cfg(feature = "conformance")]
pub mod conformance;
mod engine;
mod error;
mod redb;
mod redis;
mod repo;
mod sealed;

pub use engine::{
    Change, Changes, Commit, Durability, Keys, Mark, Op, Page, Precondition, Record, Revision, Space, Store,
};
pub use error::StoreError;
pub use redb::{RedbOptions, RedbStore};
pub use redis::{Appendfsync, EraseMode, RedisStore, RedisStoreOptions};
pub use repo::{
    ApiKeys, Attempt, Begun, ChangedKey, Collections, ConsentRow, Consents, Count, EnrolSubject, Enrolment,
    Idempotency, IdempotencySlot, ImportOutcome, ItemResult, Jobs, Lookup, Outcome, Pepper, Removed, RepoError,
    StoredReply, SubjectHandle, SubjectRow, Subjects, TemplateRow, Templates, Versioned, WholeSubject, Withdrawal,
};
pub use sealed::{Rewrapped, SealedStore};
