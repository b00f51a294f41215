//! The document of a verification.

use serde::{Deserialize, Serialize};

use super::{FailedImage, Provenance, Speed, Worst};
use crate::{CohortReport, FoldsReport, Histogram, RocPoint, VerificationReport};

/// Schema of [`Verification`].
pub const VERIFICATION: &str = "visavis.eval.verification/1";

/// The verification protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationProtocol {
    /// File name of the pairs.
    pub pairs: String,
    /// File name of the pairs that the threshold was chosen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_from: Option<String>,
    /// Which face of a picture is compared.
    pub face: String,
    /// How it is known who is in a picture; empty if it is not.
    #[serde(default)]
    pub subjects: String,
}

/// A report of `visavis eval verification`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// [`VERIFICATION`].
    pub schema: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// What was done.
    pub protocol: VerificationProtocol,
    /// The measures.
    pub report: VerificationReport,
    /// By fold, where the pairs have folds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<FoldsReport>,
    /// By cohort, where labels exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohorts: Option<CohortReport>,
    /// ROC and DET.
    pub curve: Vec<RocPoint>,
    /// Of all scores.
    pub histogram: Histogram,
    /// Hardest pairs.
    pub worst: Worst,
    /// Pictures without a template, and why.
    pub failures: Vec<FailedImage>,
    /// How fast.
    pub speed: Speed,
}
