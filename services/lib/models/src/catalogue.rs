//! All models that can be chosen: the built-in manifests and those of the user, and the pinned ONNX Runtime.

use std::{collections::BTreeMap, env::consts};

use serde::Deserialize;

use crate::{Artefact, Checksum, Kind, Manifest, ModelError, WheelSource};

const BUILT_IN: [(&str, &str); 4] = [
    ("yunet", include_str!("../manifests/yunet.toml")),
    ("sface", include_str!("../manifests/sface.toml")),
    ("scrfd_500m", include_str!("../manifests/scrfd_500m.toml")),
    ("w600k_mbf", include_str!("../manifests/w600k_mbf.toml")),
];
const RUNTIME: &str = include_str!("../manifests/runtime/onnxruntime.toml");

/// How wide the numbers are that a model computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats, as shipped.
    #[default]
    Fp32,
    /// 8-bit integers, from a file that was quantised on this machine or brought along.
    Int8,
}

/// Which models are active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Name of the detector.
    pub detector: String,
    /// Name of the embedder.
    pub embedder: String,
    /// How wide the numbers of the embedder are.
    pub precision: Precision,
    /// Whether the operator accepts licences that forbid commercial use.
    pub accept_licence: bool,
}

impl Default for Selection {
    /// The licence-clean pair.
    fn default() -> Self {
        Self { detector: "yunet".into(), embedder: "sface".into(), precision: Precision::Fp32, accept_licence: false }
    }
}

/// The manifests by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalogue {
    manifests: BTreeMap<String, Manifest>,
    runtime: Runtime,
}

/// The pinned ONNX Runtime, one build per platform.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runtime {
    /// `onnxruntime`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its licence.
    pub licence: String,
    build: Vec<Build>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    os: String,
    arch: String,
    file: String,
    bytes: u64,
    sha256: Checksum,
    source: WheelSource,
}

impl Runtime {
    /// The library for this machine.
    ///
    /// # Errors
    /// [`ModelError::UnsupportedPlatform`].
    pub fn artefact(&self) -> Result<Artefact, ModelError> {
        let (os, arch) = (consts::OS, consts::ARCH);
        let build = self.build.iter().find(|b| b.os == os && b.arch == arch);
        let b = build.ok_or(ModelError::UnsupportedPlatform { os, arch })?;
        Ok(Artefact {
            name: self.name.clone(),
            file: b.file.clone(),
            bytes: Some(b.bytes),
            sha256: b.sha256,
            sources: vec![b.source.clone()],
        })
    }
}

impl Catalogue {
    /// The built-in models.
    ///
    /// # Errors
    /// [`ModelError::Manifest`]: a defect of the build.
    pub fn built_in() -> Result<Self, ModelError> {
        let parsed = BUILT_IN.into_iter().map(|(origin, text)| Manifest::parse(origin, text));
        let manifests = parsed.map(|m| m.map(|m| (m.name.clone(), m))).collect::<Result<_, _>>()?;
        let invalid = |e: toml::de::Error| ModelError::Manifest { origin: "onnxruntime".into(), reason: e.to_string() };
        Ok(Self { manifests, runtime: toml::from_str(RUNTIME).map_err(invalid)? })
    }

    /// Adds a model, in place of one of the same name.
    pub fn add(&mut self, manifest: Manifest) {
        self.manifests.insert(manifest.name.clone(), manifest);
    }

    /// All models, by name.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.manifests.values()
    }

    /// The pinned runtime.
    #[must_use]
    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// The detector of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the names there are.
    pub fn detector(&self, name: &str) -> Result<&Manifest, ModelError> {
        self.get(name, "detector", |m| matches!(m.kind, Kind::Detector(_)))
    }

    /// The embedder of this name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the names there are.
    pub fn embedder(&self, name: &str) -> Result<&Manifest, ModelError> {
        self.get(name, "embedder", |m| matches!(m.kind, Kind::Embedder(_)))
    }

    /// Every file that is known, for [`crate::import`]. Without the runtime where none is pinned for this machine.
    #[must_use]
    pub fn artefacts(&self) -> Vec<Artefact> {
        self.manifests().map(Manifest::artefact).chain(self.runtime.artefact().ok()).collect()
    }

    /// The files that have to be fetched for a selection: those of models with a source, not the user's own. The
    /// runtime comes on top, see [`Runtime::artefact`]; a configured library makes it needless.
    ///
    /// # Errors
    /// Those of [`Self::resolve`], and [`ModelError::LicenceNotAccepted`].
    pub fn wanted(&self, selection: &Selection) -> Result<Vec<Artefact>, ModelError> {
        let (detector, embedder) = self.resolve(selection)?;
        detector.permit(selection.accept_licence)?;
        embedder.permit(selection.accept_licence)?;
        Ok([detector, embedder].into_iter().filter(|m| !m.sources.is_empty()).map(Manifest::artefact).collect())
    }

    /// Detector and embedder of a selection. 8 bits are the embedder's alone: a detector of 8 bits is chosen by name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], or [`ModelError::NotQuantised`] where 8 bits are wanted and there is no such file.
    pub fn resolve(&self, selection: &Selection) -> Result<(&Manifest, &Manifest), ModelError> {
        let (detector, embedder) = (self.detector(&selection.detector)?, self.embedder(&selection.embedder)?);
        if selection.precision == Precision::Fp32 || embedder.quantised.is_some() {
            return Ok((detector, embedder));
        }
        let from_it =
            |m: &&Manifest| m.embedder().is_some() && m.quantised.as_ref().is_some_and(|q| q.source == embedder.sha256);
        let missing = || ModelError::NotQuantised { name: embedder.name.clone() };
        Ok((detector, self.manifests().find(from_it).ok_or_else(missing)?))
    }

    fn get(&self, name: &str, role: &'static str, is: impl Fn(&Manifest) -> bool) -> Result<&Manifest, ModelError> {
        self.manifests.get(name).filter(|m| is(m)).ok_or_else(|| {
            let known: Vec<_> = self.manifests().filter(|m| is(m)).map(|m| m.name.as_str()).collect();
            ModelError::Unknown { role, name: name.to_owned(), known: known.join(", ") }
        })
    }
}
