//! Who is in a run: the lineage document. It tells everybody by handle, with the consents that allowed it and the hash of
//! every crop, so that anybody may show later what a model has learnt from. Names nobody.

use domain::{CollectionId, ConsentId, FaceId, Purpose, RunLineage, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Schema of a [`Manifest`].
pub const SCHEMA: &str = "visavis.training.lineage/1";

/// Name of the document beside a run's record.
pub const DOCUMENT: &str = "lineage";

/// What a subject is in a run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// To learn from.
    Train,
    /// To measure with; never learnt from.
    HeldOut,
}

/// A crop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crop {
    /// Of which face.
    pub face: FaceId,
    /// Of its encoded pixels; empty until it was read.
    pub sha256: String,
}

/// A consent that allowed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    /// Which.
    pub id: ConsentId,
    /// When it was given.
    pub obtained_at: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A subject of a collection. One person in two collections has two handles, which only the caller can bring together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Where.
    pub collection: CollectionId,
    /// Who.
    pub handle: String,
    /// What for.
    pub part: Part,
    /// What allowed it.
    pub consents: Vec<Permission>,
    /// Their crops.
    pub crops: Vec<Crop>,
}

/// Who is in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// When the consents were looked through.
    pub consents_at: Timestamp,
    /// What the model will be used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// Where was looked.
    pub collections: Vec<CollectionId>,
    /// By collection and handle.
    pub subjects: Vec<Subject>,
    /// Crops that could not be read.
    #[serde(default)]
    pub unreadable: u32,
    /// Of all of `subjects`.
    #[serde(default)]
    pub sha256: String,
}

impl Manifest {
    /// Writes down what the subjects hash to.
    pub fn seal(&mut self) {
        let mut hash = Sha256::new();
        for subject in &self.subjects {
            let part = if subject.part == Part::Train { "train" } else { "held_out" };
            hash.update(format!("{}/{} {part}\n", subject.collection, subject.handle));
            for crop in &subject.crops {
                hash.update(format!("  {} {}\n", crop.face, crop.sha256));
            }
        }
        self.sha256 = hex::encode(hash.finalize());
    }

    /// In numbers.
    #[must_use]
    pub fn lineage(&self) -> RunLineage {
        let of = |part: Part| self.subjects.iter().filter(move |s| s.part == part);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        RunLineage {
            dataset_sha256: self.sha256.clone(),
            subjects: count(of(Part::Train).count()),
            crops: count(of(Part::Train).map(|s| s.crops.len()).sum()),
            held_out_subjects: count(of(Part::HeldOut).count()),
            held_out_crops: count(of(Part::HeldOut).map(|s| s.crops.len()).sum()),
            unreadable: self.unreadable,
            consents_at: self.consents_at,
        }
    }
}

/// In hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
