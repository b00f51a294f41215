//! Jobs: queued work that a caller may follow.

use serde::{Deserialize, Serialize};

use crate::{JobId, KeyId, Problem, Timestamp};

/// A stream of work with its own consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Somebody is waiting.
    Interactive,
    /// Nobody is waiting.
    Bulk,
    /// Retraining.
    Train,
}

impl Lane {
    /// Every lane.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Train];

    /// The lane's name in keys and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Bulk => "bulk",
            Self::Train => "train",
        }
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Find faces.
    Detect,
    /// Compare images.
    Compare,
    /// Embed faces.
    Embed,
    /// Enrol a subject or further faces of it.
    Enrol,
    /// Search a collection.
    Identify,
    /// Compare with one subject.
    Verify,
    /// Apply erasures to a collection's gallery.
    CatchUp,
    /// Enrol many subjects.
    BulkEnrol,
    /// Search a collection for many images.
    BulkIdentify,
    /// Carry out a training run.
    Train,
    /// Hold a model against the one that answers for a collection, and promote it if it passes.
    Promote,
}

impl JobKind {
    /// The kind's name in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Compare => "compare",
            Self::Embed => "embed",
            Self::Enrol => "enrol",
            Self::Identify => "identify",
            Self::Verify => "verify",
            Self::CatchUp => "catch_up",
            Self::BulkEnrol => "bulk_enrol",
            Self::BulkIdentify => "bulk_identify",
            Self::Train => "train",
            Self::Promote => "promote",
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Accepted, not begun.
    Queued,
    /// Begun.
    Running,
    /// Done; the result is there.
    Succeeded,
    /// Ended with a problem.
    Failed,
    /// Cancelled by the caller.
    Cancelled,
}

impl JobState {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// How far a job of many items has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Items of the job.
    pub items: u32,
    /// Items with a result.
    pub succeeded: u32,
    /// Items that ended with a problem.
    pub failed: u32,
}

impl Progress {
    /// Whether every item has ended.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.succeeded.saturating_add(self.failed) >= self.items
    }
}

/// A job as the store keeps it; the result lies beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Who asked for it.
    pub key: KeyId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When its result is dropped.
    pub expires_at: Timestamp,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How far it has come, if it has many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}
