//! What a report says, as the JSON that is written beside it: measures, the points of its plots, the pictures behind
//! the worst comparisons, and where it all comes from. Made by `visavis eval` and `visavis train`; drawn by [`crate::report`]; read again
//! to compare two runs. A schema's number rises when a field changes its meaning or goes.

mod calibration;
mod identification;
mod training;
pub mod training_run;
mod verification;

use serde::{Deserialize, Serialize};

pub use calibration::{CALIBRATION, Calibration, CalibrationSample, Guard, InUse, Suspect, Suspicion};
pub use identification::{
    Enrolment, IDENTIFICATION, Identification, IdentificationProtocol, SearchCohorts, Service, ServicePoint,
};
pub use training::{
    LossPoint, Measured, TRAINING, Training, TrainingData, TrainingLineage, TrainingProtocol, ValidationPoint,
};
pub use verification::{VERIFICATION, Verification, VerificationProtocol};

/// Points of a ROC in a document, about.
pub const CURVE_POINTS: usize = 600;

/// Where the figures come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the program.
    pub visavis: String,
    /// When, RFC 3339.
    pub made: String,
    /// On what.
    pub machine: Machine,
    /// With what.
    pub models: Models,
    /// From what: the lists that were read.
    pub inputs: Vec<InputFile>,
}

/// The machine, without its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub arch: String,
    /// The processor as it calls itself; empty where it does not say.
    pub cpu: String,
    /// Processors this process may use.
    pub cores: usize,
}

/// The models of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// Manifest name of the detector.
    pub detector: String,
    /// Manifest name of the embedder.
    pub embedder: String,
    /// Embedding contract: templates of different contracts are never compared.
    pub contract: String,
    /// Their files.
    #[serde(default)]
    pub files: Vec<ModelFile>,
    /// Where the models ran, such as `cpu`.
    #[serde(default)]
    pub provider: String,
}

/// One model file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Manifest name.
    pub name: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Licence of the weights.
    pub licence: String,
    /// Whether that licence allows commercial use.
    pub commercial: bool,
}

/// A list that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// What it was for, as the command line calls it.
    pub role: String,
    /// File name without its folder.
    pub name: String,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// A picture without a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedImage {
    /// Its name in the list.
    pub image: String,
    /// Why.
    pub reason: String,
}

/// How fast pictures became templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Pictures.
    pub images: usize,
    /// Wall-clock time.
    pub seconds: f64,
    /// Their quotient.
    pub images_per_second: f64,
}

/// A comparison with its pictures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PicturePair {
    /// Name of the one picture.
    pub left: String,
    /// Name of the other.
    pub right: String,
    /// Comparison score.
    pub score: f64,
}

/// The comparisons that were hardest to decide.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// Lowest scores of one person.
    pub mated: Vec<PicturePair>,
    /// Highest scores of different persons.
    pub non_mated: Vec<PicturePair>,
}
