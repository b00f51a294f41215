//! What is known about a model: file, licence, input, kind, calibration. One TOML file each; unknown fields are errors.
//! Callers: the catalogue, and through it everyone who runs or names a model.

mod raw;

use std::{
    fs,
    path::{Path, PathBuf},
};

use domain::{CalibrationTable, ContractId};
use serde::{Deserialize, Serialize};

use crate::{Artefact, Checksum, ModelError, WheelSource};

/// A model's description, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Name it is chosen by.
    pub name: String,
    /// For people.
    pub description: String,
    /// File name.
    pub file: String,
    /// Size of the file, if given.
    pub bytes: Option<u64>,
    /// Checksum of the file.
    pub sha256: Checksum,
    /// Where the file can be had; none for a model of the user's own.
    pub sources: Vec<WheelSource>,
    /// Licence of the weights.
    pub licence: String,
    /// Whether that licence allows commercial use.
    pub commercial: bool,
    /// What the graph is fed.
    pub input: Input,
    /// What it is for.
    pub kind: Kind,
    /// For a model made from another one with 8 bits: how.
    pub quantised: Option<Quantised>,
    /// Folder of the manifest, for one read from a file: a model may lie beside it.
    pub folder: Option<PathBuf>,
}

/// How a model of 8 bits came about. Same source, calibration and version: the same file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantised {
    /// Checksum of the float model.
    pub source: Checksum,
    /// Identifies the samples that the ranges are from.
    pub calibration: String,
    /// Number of them.
    pub samples: u32,
    /// Version of the quantiser.
    pub version: u32,
}

/// What a graph is fed: planes of `(x − mean) × scale` for samples `x` in 0..=255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Order of the planes.
    pub channel_order: ChannelOrder,
    /// Subtracted first, by plane.
    pub mean: [f32; 3],
    /// Multiplied with after that, by plane.
    pub scale: [f32; 3],
    /// Width and height in pixels.
    pub size: [u32; 2],
}

/// Order of the input planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

impl ChannelOrder {
    /// `rgb` or `bgr`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Bgr => "bgr",
        }
    }
}

/// What a model is for.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Finds faces and their five points.
    Detector(Detector),
    /// Turns an aligned face into an embedding.
    Embedder(Embedder),
}

/// A detector's outputs and thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// How its outputs are read.
    pub head: Head,
    /// Least confidence of a face.
    pub score_threshold: f32,
    /// Boxes that overlap a stronger one by more than this (intersection over union) are dropped.
    pub nms_threshold: f32,
}

/// Families of detectors, by how they write their outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// YuNet 2023mar: `cls`, `obj`, `bbox` and `kps` for three strides.
    Yunet,
    /// SCRFD with key points: scores, boxes and points for three strides, in this order, whatever their names.
    Scrfd,
}

impl Head {
    /// `yunet` or `scrfd`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yunet => "yunet",
            Self::Scrfd => "scrfd",
        }
    }

    /// Names of the outputs that are read by name.
    #[must_use]
    pub fn output_names(self) -> Vec<String> {
        match self {
            Self::Yunet => {
                let kinds = ["cls", "obj", "bbox", "kps"].into_iter();
                kinds.flat_map(|kind| [8, 16, 32].map(|stride| format!("{kind}_{stride}"))).collect()
            }
            Self::Scrfd => Vec::new(),
        }
    }
}

/// An embedder's output, and how faces are brought to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedder {
    /// Length of the embedding.
    pub dim: usize,
    /// Id of the alignment template.
    pub alignment: String,
    /// Score tables by the detector they were measured with.
    pub calibration: Vec<(String, CalibrationTable)>,
}

impl Manifest {
    /// Reads a manifest file. The model may lie beside it, under the name in `file`.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] or [`ModelError::NoLicence`], with the path; [`ModelError::Io`].
    pub fn from_path(path: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(path).map_err(|e| ModelError::io(path, e))?;
        let mut manifest = Self::parse(&path.display().to_string(), &text)?;
        manifest.folder = Some(path.parent().unwrap_or(Path::new("")).to_owned());
        Ok(manifest)
    }

    /// Reads a manifest's text; `origin` is what messages call it.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] or [`ModelError::NoLicence`].
    pub fn parse(origin: &str, text: &str) -> Result<Self, ModelError> {
        raw::parse(origin, text)
    }

    /// The text of a manifest file that reads back as this; `sample` is what its score tables were measured on.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] for what TOML cannot hold.
    pub fn to_toml(&self, sample: &str) -> Result<String, ModelError> {
        raw::write(self, sample)
    }

    /// Identifies how an embedding comes about: file, normalisation, alignment. `None` for a detector.
    #[must_use]
    pub fn contract(&self) -> Option<ContractId> {
        let Kind::Embedder(embedder) = &self.kind else { return None };
        Some(ContractId::derive(self.sha256.as_bytes(), &self.input.normalisation(), &embedder.alignment))
    }

    /// The file, for the cache.
    #[must_use]
    pub fn artefact(&self) -> Artefact {
        Artefact {
            name: self.name.clone(),
            file: self.file.clone(),
            bytes: self.bytes,
            sha256: self.sha256,
            sources: self.sources.clone(),
        }
    }

    /// Shape of one item of the graph's input: channels, height, width.
    #[must_use]
    pub const fn item_shape(&self) -> [usize; 3] {
        let [width, height] = self.input.size;
        [3, height as usize, width as usize]
    }

    /// Names of outputs that are read by name; empty where they are read by position.
    #[must_use]
    pub fn output_names(&self) -> Vec<String> {
        self.detector().map_or_else(Vec::new, |d| d.head.output_names())
    }

    /// The detector's part, if it is one.
    #[must_use]
    pub const fn detector(&self) -> Option<&Detector> {
        if let Kind::Detector(d) = &self.kind { Some(d) } else { None }
    }

    /// The embedder's part, if it is one.
    #[must_use]
    pub const fn embedder(&self) -> Option<&Embedder> {
        if let Kind::Embedder(e) = &self.kind { Some(e) } else { None }
    }

    /// Passes a model that is free for commercial use, or whose licence the operator accepted.
    ///
    /// # Errors
    /// [`ModelError::LicenceNotAccepted`].
    pub fn permit(&self, accept_licence: bool) -> Result<(), ModelError> {
        if self.commercial || accept_licence {
            return Ok(());
        }
        Err(ModelError::LicenceNotAccepted { name: self.name.clone(), licence: self.licence.clone() })
    }

    /// The score table measured with this detector.
    ///
    /// # Errors
    /// [`ModelError::NoCalibration`].
    pub fn calibration(&self, detector: &str) -> Result<&CalibrationTable, ModelError> {
        let tables = self.embedder().map_or(&[][..], |e| &e.calibration);
        let found = tables.iter().find(|(d, _)| d == detector).map(|(_, table)| table);
        found.ok_or_else(|| ModelError::NoCalibration { embedder: self.name.clone(), detector: detector.into() })
    }
}

impl Input {
    /// The whole of the normalisation as text, the same for equal values however they are written: part of the
    /// embedding contract.
    #[must_use]
    pub fn normalisation(&self) -> String {
        let ([w, h], order) = (self.size, self.channel_order.as_str());
        format!("{order} {w}x{h} mean {:?} scale {:?}", self.mean, self.scale)
    }
}
