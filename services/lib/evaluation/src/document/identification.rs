//! The document of an identification.

use serde::{Deserialize, Serialize};

use super::{FailedImage, Provenance, Speed, Worst};
use crate::{CohortReport, Histogram, IdentificationReport, RatesAt};

/// Schema of [`Identification`].
pub const IDENTIFICATION: &str = "visavis.eval.identification/1";

/// The identification protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentificationProtocol {
    /// File name of the enrolments.
    pub enrol: String,
    /// File name of the probes.
    pub probes: String,
    /// Which face of a picture is enrolled and searched for.
    pub face: String,
    /// Subjects of probes who are not enrolled: their searches count as non-mated.
    pub not_enrolled: Vec<String>,
}

/// The gallery of an identification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Subjects in the list.
    pub subjects: usize,
    /// Pictures in the list.
    pub images: usize,
    /// Pictures that failed to enrol.
    pub failed_images: usize,
    /// Subjects all of whose pictures failed.
    pub failed_subjects: usize,
}

/// What the service would do with this gallery: the threshold that its calibration gives for a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicePoint {
    /// The FPIR aimed at.
    pub target_fpir: f64,
    /// What came of it.
    #[serde(flatten)]
    pub rates: RatesAt,
}

/// The service's own thresholds, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The calibration table.
    pub calibration: String,
    /// By target.
    pub points: Vec<ServicePoint>,
}

/// Rates of a cohort of searches at the common threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchCohorts {
    /// FPIR, not FMR; otherwise as for pairs.
    pub report: CohortReport,
    /// What the threshold is.
    pub threshold_origin: String,
}

/// A report of `visavis eval identification`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identification {
    /// [`IDENTIFICATION`].
    pub schema: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// What was done.
    pub protocol: IdentificationProtocol,
    /// The gallery.
    pub enrolment: Enrolment,
    /// The measures.
    pub report: IdentificationReport,
    /// At the service's own thresholds, where its models have a calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// By cohort of the person searched for, where labels exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohorts: Option<SearchCohorts>,
    /// Scores of the subjects searched for, against the best scores of strangers.
    pub histogram: Histogram,
    /// Hardest searches: probe, and the enrolled picture it was compared with.
    pub worst: Worst,
    /// Pictures without a template, and why.
    pub failures: Vec<FailedImage>,
    /// How fast.
    pub speed: Speed,
}
