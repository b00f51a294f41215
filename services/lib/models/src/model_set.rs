//! The active detector and embedder, read from the cache: verified, and rewritten for serving. Callers: the worker at
//! start and on a model change.

use std::{fs, path::PathBuf};

use domain::{CalibrationTable, ContractId};

use crate::{Cache, Catalogue, Checksum, Manifest, ModelError, Selection};

/// Where a graph will run; CPUs get rewrites of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// On processors.
    Cpu,
    /// On a GPU.
    Gpu,
}

/// One model, ready for an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What is known about it.
    pub manifest: Manifest,
    /// The shipped file.
    pub path: PathBuf,
    /// The graph as it is to be served: the shipped one, rewritten. Bytes of an `.onnx` file.
    pub onnx: Vec<u8>,
}

impl Model {
    /// Reads, verifies and rewrites one model.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::WrongChecksum`], [`ModelError::Graph`],
    /// [`ModelError::LicenceNotAccepted`]; failures of the file system.
    pub fn load(manifest: &Manifest, cache: &Cache, accept_licence: bool, target: Target) -> Result<Self, ModelError> {
        manifest.permit(accept_licence)?;
        let path = locate(manifest, cache)?;
        let file = fs::read(&path).map_err(|e| ModelError::io(&path, e))?;
        // What was read is what is checked; the file may change between two reads.
        Self::of_bytes(manifest, path, &file, target)
    }

    /// Verifies and rewrites one model that has been read already, whose licence was accepted before; `path` is where it
    /// came from, for messages.
    ///
    /// # Errors
    /// [`ModelError::WrongChecksum`], [`ModelError::Graph`].
    pub fn of_bytes(manifest: &Manifest, path: PathBuf, file: &[u8], target: Target) -> Result<Self, ModelError> {
        let found = Checksum::of(file);
        if found != manifest.sha256 {
            return Err(ModelError::checksum(path.display().to_string(), manifest.sha256, found));
        }
        let unusable = |source| ModelError::Graph { name: manifest.name.clone(), source };
        let mut graph = onnx::decode(file).map_err(unusable)?;
        onnx::rewrite::for_serving(&mut graph).map_err(unusable)?;
        if target == Target::Cpu {
            onnx::rewrite::for_cpu(&mut graph).map_err(unusable)?;
        }
        Ok(Self { manifest: manifest.clone(), path, onnx: onnx::encode(&graph) })
    }
}

/// The two models that serve together.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSet {
    /// Finds faces.
    pub detector: Model,
    /// Embeds them.
    pub embedder: Model,
    contract: ContractId,
}

impl ModelSet {
    /// Loads a selection from the cache.
    ///
    /// # Errors
    /// Those of [`Model::load`] and of [`Catalogue::resolve`].
    pub fn load(
        catalogue: &Catalogue,
        cache: &Cache,
        selection: &Selection,
        target: Target,
    ) -> Result<Self, ModelError> {
        let accept = selection.accept_licence;
        let (detector, embedder) = catalogue.resolve(selection)?;
        let no_contract = || ModelError::Manifest { origin: embedder.name.clone(), reason: "it is no embedder".into() };
        let contract = embedder.contract().ok_or_else(no_contract)?;
        let detector = Model::load(detector, cache, accept, target)?;
        Ok(Self { detector, embedder: Model::load(embedder, cache, accept, target)?, contract })
    }

    /// The contract of templates that this set makes.
    #[must_use]
    pub const fn contract(&self) -> ContractId {
        self.contract
    }

    /// The embedder's score table for this detector.
    ///
    /// # Errors
    /// [`ModelError::NoCalibration`].
    pub fn calibration(&self) -> Result<&CalibrationTable, ModelError> {
        self.embedder.manifest.calibration(&self.detector.manifest.name)
    }
}

/// Beside the user's manifest, or in the cache.
fn locate(manifest: &Manifest, cache: &Cache) -> Result<PathBuf, ModelError> {
    let beside = manifest.folder.as_ref().map(|folder| folder.join(&manifest.file));
    let cached = cache.path_of(&manifest.artefact());
    let candidates = beside.into_iter().chain([cached]);
    candidates.into_iter().find(|p| p.is_file()).ok_or_else(|| ModelError::Missing { name: manifest.name.clone() })
}
