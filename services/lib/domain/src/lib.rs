//! Words and rules of the field, shared by every crate: ids, faces, templates, thresholds, decisions,
//! consent, collections, API keys, jobs and the closed set of error codes. No IO, no async, no clocks
//! but [`Timestamp::now`].

mod api_key;
mod calibration;
mod cidr;
mod collection;
mod consent;
mod decision;
mod error;
mod face;
mod face_templates;
mod ids;
mod job;
mod retention;
mod role;
mod serving;
mod subject;
mod template;
mod time;
mod training;

pub use api_key::{ApiKey, FormerSecret, Principal, Scope, ScopeSet, TOKEN_PREFIX};
pub use calibration::{CalibrationPoint, CalibrationTable, ResolvedThreshold, ThresholdSpec, ThresholdTarget};
pub use cidr::{Cidr, CidrError};
pub use collection::{Collection, CropTerm, DecisionPolicy, QualityGate, RetainCrops};
pub use consent::{Consent, ConsentDraft, ConsentPolicy, ConsentStatus, Guardian, Notice, Purpose};
pub use decision::{Candidate, Decision, decide};
pub use error::{ErrorCode, FieldError, Problem};
pub use face::{BoundingBox, Face, Landmarks, Pose, Quality, QualityComponents, QualityLevel};
pub use face_templates::FaceTemplates;
pub use ids::{
    BaseModel, CollectionId, ConsentId, ErasureId, FaceId, IdError, InvalidId, JobId, KeyId, ModelId, RequestId, RunId,
    SubjectId, TenantId,
};
pub use job::{JobKind, JobRecord, JobState, Lane, Progress};
pub use retention::{Due, DueReason, Kept, Retention, SEEN_EVERY};
pub use role::Role;
pub use serving::{KeptModel, PromotionPolicy, Serving, ServingModel, WithoutCrops};
pub use subject::{EnrolledFace, Metadata, Subject};
pub use template::{ContractId, Template, TemplateError};
pub use time::{ParseTimestampError, Timestamp};
pub use training::{
    OverrideValue, Overrides, RecipeName, RunFailure, RunFailureCode, RunLineage, RunProgress, RunState,
    TrainingPolicy, check_overrides,
};
