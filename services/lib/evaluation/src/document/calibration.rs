//! The document of a calibration.

use serde::{Deserialize, Serialize};

use super::{FailedImage, PicturePair, Provenance, Speed};
use crate::{CalibrationRow, Histogram, ScoreSummary};

/// Schema of [`Calibration`].
pub const CALIBRATION: &str = "visavis.eval.calibration/1";

/// What a calibration rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationSample {
    /// Name of the folder or list.
    pub source: String,
    /// Pictures.
    pub images: usize,
    /// Pictures that failed to enrol.
    pub failed_images: usize,
    /// People among the rest.
    pub subjects: usize,
    /// Comparisons of different people in the sample.
    pub comparisons: usize,
    /// Comparisons there could be; more than in the sample when that was drawn at random.
    pub possible: u64,
    /// Pairs of names that were given as one person and left out.
    pub one_person: usize,
}

/// Why two pictures under different names are suspected to show one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// The same file twice.
    SameFile,
    /// So alike that it may be the same photo.
    NearDuplicate,
    /// As alike as pictures of one person are.
    Alike,
}

/// Two names that may be one person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// Why.
    pub kind: Suspicion,
    /// One name.
    pub subject: String,
    /// The other.
    pub other: String,
    /// Their most alike pictures.
    #[serde(flatten)]
    pub pair: PicturePair,
    /// Comparisons of these two names that are as suspicious.
    pub comparisons: usize,
}

/// What was looked for in the labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// From this score on; `None` with too few pictures to say.
    pub threshold: Option<f64>,
    /// Comparisons from there on.
    pub comparisons: usize,
    /// Pairs of names among them, the most alike first; cut off after some dozens.
    pub suspects: Vec<Suspect>,
    /// The table without them, to see what they would change.
    pub rows_without: Vec<CalibrationRow>,
}

/// A row of the calibration in use.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InUse {
    /// False match rate.
    pub fmr: f64,
    /// Its score.
    pub score: f64,
}

/// A report of `visavis eval calibrate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// [`CALIBRATION`].
    pub schema: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Id of the table.
    pub id: String,
    /// What it was measured on, in a sentence, as the manifest has it.
    pub sample_text: String,
    /// The same in figures.
    pub sample: CalibrationSample,
    /// The table.
    pub rows: Vec<CalibrationRow>,
    /// The table in use for these models, where there is one.
    pub in_use: Vec<InUse>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_use_id: Option<String>,
    /// Score against FMR, for drawing.
    pub curve: Vec<InUse>,
    /// Of all scores.
    pub histogram: Histogram,
    /// Scores of one person.
    pub mated_scores: ScoreSummary,
    /// Scores of the sample.
    pub non_mated_scores: ScoreSummary,
    /// Label noise.
    pub guard: Guard,
    /// The table as the manifest takes it.
    pub manifest: String,
    /// Pictures without a template, and why.
    pub failures: Vec<FailedImage>,
    /// How fast.
    pub speed: Speed,
}
