//! Performance of comparison scores after ISO/IEC 19795-1: pure maths, no IO. Used by `visavis eval` and, later, by
//! the gate between two models. A comparison matches when its score is **at or above** the threshold.
//!
//! Measures live in a file each. [`document`] holds what a report says, as JSON; [`report`] draws such a document as
//! one HTML page.

mod bootstrap;
mod calibrate;
mod cohorts;
pub mod document;
mod embeddings;
mod equate;
mod error;
mod folds;
pub mod gate;
mod histogram;
mod identification;
mod infinite;
mod paired;
pub mod report;
mod roc;
mod scores;
mod search;
mod verification;

pub use bootstrap::{Bootstrap, Interval, Unit};
pub use calibrate::{Calibration, CalibrationRow, MIN_SUPPORT, calibrate, suspicion};
pub use cohorts::{CohortReport, CohortRow, cohorts};
pub use embeddings::{Embeddings, NonMatedScores, SamePerson, ScoredPair};
pub use equate::{EQUATED_FROM, equate};
pub use error::EvaluationError;
pub use folds::{Fold, FoldsReport, folds};
pub use histogram::Histogram;
pub use identification::{
    FnirEstimate, IdentificationPoint, IdentificationReport, Mate, Outcome, RANKS, REPORTED_FPIR, RankEstimate,
    RatesAt, SEARCH_RULE, Search, SearchCounts, identification,
};
pub use paired::{Difference, Paired, paired_identification, paired_verification};
pub use roc::{Eer, OperatingPoint, Roc, RocPoint, probit};
pub use scores::{Comparison, ScoreSummary, Scores};
pub use search::{Found, Gallery};
pub use verification::{
    Accuracy, EerEstimate, Estimate, FAILURE_RULE, Failures, TarEstimate, ThresholdOrigin, VerificationReport,
    threshold_from, verification,
};
