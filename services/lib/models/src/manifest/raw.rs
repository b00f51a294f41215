//! The manifest as it is written, and the rules that turn it into a checked one.

use domain::{CalibrationPoint, CalibrationTable};
use serde::{Deserialize, Serialize};

use super::{Detector, Embedder, Input, Kind, Manifest, Quantised};
use crate::{Checksum, ModelError, WheelSource};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    role: Role,
    #[serde(default)]
    description: String,
    file: String,
    bytes: Option<u64>,
    sha256: Checksum,
    // Optional here only so that its absence gets a message of its own.
    licence: Option<String>,
    commercial: Option<bool>,
    input: Input,
    detector: Option<Detector>,
    embedder: Option<RawEmbedder>,
    quantised: Option<Quantised>,
    #[serde(default)]
    sources: Vec<WheelSource>,
    #[serde(default)]
    calibration: Vec<RawCalibration>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Detector,
    Embedder,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEmbedder {
    dim: usize,
    alignment: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCalibration {
    detector: String,
    id: String,
    /// What it was measured on: for people, required all the same.
    sample: String,
    points: Vec<CalibrationPoint>,
}

pub(super) fn parse(origin: &str, text: &str) -> Result<Manifest, ModelError> {
    let invalid = |reason: String| ModelError::Manifest { origin: origin.to_owned(), reason };
    let raw: Raw = toml::from_str(text).map_err(|e| invalid(e.message().to_owned() + &line_of(text, &e)))?;
    let licence = raw.licence.clone().filter(|l| !l.trim().is_empty());
    let (Some(licence), Some(commercial)) = (licence, raw.commercial) else {
        return Err(ModelError::NoLicence { origin: origin.to_owned() });
    };
    check(&raw).map_err(|reason| invalid(reason.to_owned()))?;
    let kind = kind(raw.role, raw.detector, raw.embedder, raw.calibration).map_err(invalid)?;
    Ok(Manifest {
        name: raw.name,
        description: raw.description,
        file: raw.file,
        bytes: raw.bytes,
        sha256: raw.sha256,
        sources: raw.sources,
        licence,
        commercial,
        input: raw.input,
        kind,
        quantised: raw.quantised,
        folder: None,
    })
}

/// The text of a manifest's file. What it says of the samples behind its score tables is not kept in a [`Manifest`],
/// so `sample` says it for all of them.
pub(super) fn write(m: &Manifest, sample: &str) -> Result<String, ModelError> {
    let (role, detector, embedder, tables) = match &m.kind {
        Kind::Detector(d) => (Role::Detector, Some(d.clone()), None, &[][..]),
        Kind::Embedder(e) => {
            let raw = RawEmbedder { dim: e.dim, alignment: e.alignment.clone() };
            (Role::Embedder, None, Some(raw), e.calibration.as_slice())
        }
    };
    let calibration = tables.iter().map(|(detector, table)| RawCalibration {
        detector: detector.clone(),
        id: table.id().to_owned(),
        sample: sample.to_owned(),
        points: table.points().to_vec(),
    });
    let raw = Raw {
        name: m.name.clone(),
        role,
        description: m.description.clone(),
        file: m.file.clone(),
        bytes: m.bytes,
        sha256: m.sha256,
        licence: Some(m.licence.clone()),
        commercial: Some(m.commercial),
        input: m.input.clone(),
        detector,
        embedder,
        quantised: m.quantised.clone(),
        sources: m.sources.clone(),
        calibration: calibration.collect(),
    };
    let unwritable = |e: toml::ser::Error| ModelError::Manifest { origin: m.name.clone(), reason: e.to_string() };
    toml::to_string(&raw).map_err(unwritable)
}

fn line_of(text: &str, e: &toml::de::Error) -> String {
    let line = |at: usize| text.get(..at).map(|before| before.matches('\n').count() + 1);
    e.span().and_then(|s| line(s.start)).map_or_else(String::new, |n| format!(" (line {n})"))
}

fn check(raw: &Raw) -> Result<(), &'static str> {
    let plain = |s: &str| {
        !s.is_empty()
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && s.bytes().any(|b| b != b'.')
    };
    let [width, height] = raw.input.size;
    let numbers = raw.input.mean.iter().chain(&raw.input.scale);
    if !plain(&raw.name) {
        Err("`name` may hold only letters, digits, '-', '_' and '.'")
    } else if !plain(&raw.file) {
        Err("`file` is a plain file name: letters, digits, '-', '_' and '.'")
    } else if !(1..=8192).contains(&width) || !(1..=8192).contains(&height) {
        Err("`input.size` is width and height in pixels, each 1 to 8192")
    } else if !numbers.clone().all(|v| v.is_finite()) || raw.input.scale.contains(&0.0) {
        Err("`input.mean` and `input.scale` must be finite, and the scale not 0")
    } else {
        Ok(())
    }
}

fn kind(
    role: Role,
    detector: Option<Detector>,
    embedder: Option<RawEmbedder>,
    calibration: Vec<RawCalibration>,
) -> Result<Kind, String> {
    match (role, detector, embedder) {
        (Role::Detector, Some(d), None) if calibration.is_empty() => {
            let rate = |v: f32| (0.0..=1.0).contains(&v);
            let fine = rate(d.score_threshold) && rate(d.nms_threshold);
            if fine { Ok(Kind::Detector(d)) } else { Err("detector thresholds lie between 0 and 1".into()) }
        }
        (Role::Embedder, None, Some(e)) => {
            if !(1..=4096).contains(&e.dim) || e.alignment.is_empty() {
                return Err("an embedder has a `dim` of 1 to 4096 and an `alignment`".into());
            }
            let calibration = calibration.into_iter().map(table).collect::<Result<_, _>>()?;
            Ok(Kind::Embedder(Embedder { dim: e.dim, alignment: e.alignment, calibration }))
        }
        (Role::Detector, ..) => {
            Err("role `detector` goes with a [detector] table, without [embedder] and [[calibration]]".into())
        }
        (Role::Embedder, ..) => Err("role `embedder` goes with an [embedder] table, without [detector]".into()),
    }
}

fn table(raw: RawCalibration) -> Result<(String, CalibrationTable), String> {
    if raw.sample.trim().is_empty() {
        return Err(format!("the calibration {} does not say what it was measured on (`sample`)", raw.id));
    }
    let table =
        CalibrationTable::new(raw.id.clone(), raw.points).map_err(|e| format!("calibration {}: {e}", raw.id))?;
    Ok((raw.detector, table))
}
