//! Where photos come from: a folder for each person, or enrolled crops whose consents allow training. Implemented by the
//! binary and by the trainer role; read by everything here.

use serde::{Deserialize, Serialize};
use vision::Rgb8;

use crate::TrainingError;

/// Aligned faces and whose they are. The order is part of a run: the same data has to come in the same order.
pub trait Samples: Send + Sync {
    /// Labels of the people. A split draws by them, so that they should stay the same from run to run.
    fn identities(&self) -> &[String];

    /// Number of photos.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whose photo it is: a place in [`Self::identities`].
    fn identity(&self, sample: usize) -> usize;

    /// The aligned face, 112×112, or larger with margin around it. Read several times, from several threads.
    ///
    /// # Errors
    /// [`TrainingError::Unreadable`] for a photo that is to be left out; anything else ends the run.
    fn crop(&self, sample: usize) -> Result<Rgb8, TrainingError>;

    /// What reports in the run's folder call a photo. Nothing here logs it.
    fn name(&self, sample: usize) -> String {
        format!("photo {sample}")
    }

    /// What is known about a photo.
    fn about(&self, _sample: usize) -> Option<About> {
        None
    }

    /// Where the photos come from, for run.json and the report.
    fn lineage(&self) -> Lineage {
        Lineage::default()
    }
}

/// Pose and quality of one photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Degrees, to the side.
    pub yaw: f32,
    /// Degrees, up and down.
    pub pitch: f32,
    /// Degrees, in the picture.
    pub roll: f32,
    /// 0 to 100.
    pub quality: f32,
}

/// Where data and model of a run come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The photos, in a sentence.
    pub source: String,
    /// The consents that allowed training at the moment the data were taken, where they are of enrolled people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consents: Option<serde_json::Value>,
    /// Licence of the model that training begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Name of the model that training begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// Revision of the program's source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
