//! The document of a training run: curves, both models on people who were held out, data, lineage.

use serde::{Deserialize, Serialize};

use crate::{Paired, RocPoint, VerificationReport};

/// Schema of [`Training`].
pub const TRAINING: &str = "visavis.train/1";

/// A report of `visavis train`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// [`TRAINING`].
    pub schema: String,
    /// Name of the recipe.
    pub recipe: String,
    /// `head`, `tail` or `full`.
    pub method: String,
    /// Step of the weights that were kept; 0 are those it began with.
    pub best_step: u64,
    /// Steps that were made.
    pub steps: u64,
    /// By step.
    pub losses: Vec<LossPoint>,
    /// From time to time.
    pub validations: Vec<ValidationPoint>,
    /// Both models on people who were held out.
    pub protocols: Vec<TrainingProtocol>,
    /// Mean over the steps.
    pub images_per_second: f64,
    /// The photos.
    pub data: TrainingData,
    /// Where everything comes from.
    pub lineage: Vec<TrainingLineage>,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// Its number.
    pub step: u64,
    /// Loss.
    pub loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Share of photos taken for the right person.
    pub accuracy: f64,
}

/// One validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// After this step.
    pub step: u64,
    /// True accept rate.
    pub tar: f64,
    /// At this false match rate.
    pub fmr: f64,
    /// Area under the ROC.
    pub auc: f64,
    /// Whether it was the best so far.
    pub best: bool,
}

/// Both models on the same pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingProtocol {
    /// How the photos were seen.
    pub name: String,
    /// People.
    pub identities: usize,
    /// Photos.
    pub samples: usize,
    /// Whether these people have chosen the best step as well: then the figures flatter.
    pub chose_the_step: bool,
    /// The model that came out.
    pub candidate: Measured,
    /// The model that training began with; none where that knew no faces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<Measured>,
    /// Candidate against champion, from the same resamples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paired: Option<Paired>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The measures.
    pub report: VerificationReport,
    /// ROC and DET.
    pub curve: Vec<RocPoint>,
}

/// The photos, in numbers; who is who stays in the run's own files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingData {
    /// People.
    pub identities: usize,
    /// Usable photos.
    pub samples: usize,
    /// Photos that were left out.
    pub unusable: usize,
    /// Pairs of nearly the same photo.
    pub near_duplicates: usize,
    /// Photos that are more like somebody else.
    pub suspects: usize,
    /// Fewest, median and most photos of a person.
    pub balance: [usize; 3],
    /// Role, people, photos.
    pub split: Vec<(String, usize, usize)>,
    /// Percentiles 5, 50 and 95 of how faces are turned to the side, in degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yaw: Option<[f32; 3]>,
    /// Up and down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch: Option<[f32; 3]>,
    /// Of quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<[f32; 3]>,
    /// What deserves a look.
    pub warnings: Vec<String>,
}

/// A name and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingLineage {
    /// What.
    pub name: String,
    /// Where it comes from.
    pub value: String,
}
