//! From the configuration to verified models and a loaded ONNX Runtime: fetches what is missing, unless told not to.
//! Used by `up`, `eval` and `models`.

use std::fs;
use std::path::{Path, PathBuf};

use inference::OnnxRuntime;
use models::{Artefact, Cache, Catalogue, Manifest, ModelError, ModelSet, Pip, Selection, Target, fetch, quantised_in};
use runtime::config::{ModelsSection, Precision, Provider};

use crate::failure::Failure;
use crate::progress::Bars;

/// The catalogue and the cache, as configured.
pub struct Shelf {
    /// Built-in manifests and those of the user.
    pub catalogue: Catalogue,
    /// Fetched files.
    pub cache: Cache,
}

/// What the worker needs.
pub struct Artefacts {
    /// Verified and rewritten for serving.
    pub models: ModelSet,
    /// Loaded.
    pub runtime: OnnxRuntime,
}

impl Shelf {
    /// Reads the manifests and opens the cache.
    ///
    /// # Errors
    /// A manifest or folder that cannot be used.
    pub fn open(section: &ModelsSection) -> Result<Self, Failure> {
        let cache = Cache::open(&section.cache_dir)?;
        let mut catalogue = Catalogue::built_in()?;
        for path in section.manifest_dir.as_deref().map(manifests_in).transpose()?.unwrap_or_default() {
            catalogue.add(Manifest::from_path(&path)?);
        }
        // What the user brought along stands above what was made here.
        for made in quantised_in(&cache, catalogue.manifests())? {
            if catalogue.manifests().all(|m| m.name != made.name) {
                catalogue.add(made);
            }
        }
        Ok(Self { catalogue, cache })
    }

    /// The pinned runtime, unless the user brings a library.
    pub fn pinned_runtime(&self, section: &ModelsSection) -> Result<Option<Artefact>, Failure> {
        if section.runtime_library.is_some() {
            return Ok(None);
        }
        Ok(Some(self.catalogue.runtime().artefact()?))
    }
}

/// Fetches what is missing of the configured models and the runtime, then loads them. Blocks for as long as a
/// download takes.
///
/// # Errors
/// [`ModelError`] and the runtime's, each with what to do.
pub fn prepare(section: &ModelsSection, provider: Provider) -> Result<Artefacts, Failure> {
    let shelf = Shelf::open(section)?;
    let selection = selection(section);
    let pinned = shelf.pinned_runtime(section)?;
    let wanted: Vec<Artefact> = shelf.catalogue.wanted(&selection)?.into_iter().chain(pinned.clone()).collect();
    bring(&shelf.cache, &wanted, section.offline)?;
    let target = match provider {
        Provider::Cpu => Target::Cpu,
        Provider::Cuda | Provider::Tensorrt => Target::Gpu,
    };
    narrow_fits(&shelf.catalogue, &selection, provider)?;
    let models = ModelSet::load(&shelf.catalogue, &shelf.cache, &selection, target)?;
    Ok(Artefacts { models, runtime: runtime(&shelf, section)? })
}

/// Fetches what is missing of the configured models and the runtime, and loads the latter alone.
///
/// # Errors
/// As [`prepare`].
pub fn models_and_runtime(shelf: &Shelf, section: &ModelsSection) -> Result<OnnxRuntime, Failure> {
    bring(&shelf.cache, &shelf.catalogue.wanted(&selection(section))?, section.offline)?;
    runtime(shelf, section)
}

/// Loads ONNX Runtime alone, fetched if it is missing.
///
/// # Errors
/// The download's, or a library that cannot be loaded.
pub fn runtime(shelf: &Shelf, section: &ModelsSection) -> Result<OnnxRuntime, Failure> {
    let library = match (&section.runtime_library, shelf.pinned_runtime(section)?) {
        (Some(own), _) => own.clone(),
        (None, Some(pinned)) => {
            bring(&shelf.cache, std::slice::from_ref(&pinned), section.offline)?;
            shelf.cache.path_of(&pinned)
        }
        (None, None) => return Err(Failure::Other("no ONNX Runtime is configured".into())),
    };
    Ok(OnnxRuntime::load(&library)?)
}

/// Refuses 8 bits where they make no sense, and warns where they may be wrong.
fn narrow_fits(catalogue: &Catalogue, selection: &Selection, provider: Provider) -> Result<(), Failure> {
    let (detector, embedder) = catalogue.resolve(selection)?;
    let Some(narrow) = [embedder, detector].into_iter().find(|m| m.quantised.is_some()) else { return Ok(()) };
    if provider != Provider::Cpu {
        let name = &narrow.name;
        return Err(Failure::Usage(format!("{name} is for processors: on a GPU choose the float model")));
    }
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avx512vnni") && !is_x86_feature_detected!("avxvnni") {
        tracing::warn!(
            model = narrow.name,
            "this processor has no dot product of 8-bit numbers: sums may overflow, so measure accuracy and speed here"
        );
    }
    Ok(())
}

/// Sees to it that the files are in the cache.
///
/// # Errors
/// [`ModelError::Missing`] when offline; else the download's.
pub fn bring(cache: &Cache, wanted: &[Artefact], offline: bool) -> Result<(), Failure> {
    if !offline {
        return Ok(fetch(cache, wanted, &Pip::default(), &Bars::default())?);
    }
    for artefact in wanted {
        if cache.find(artefact)?.is_none() {
            return Err(ModelError::Missing { name: artefact.name.clone() }.into());
        }
    }
    Ok(())
}

/// Which models, and whether their licences are accepted.
pub fn selection(section: &ModelsSection) -> Selection {
    Selection {
        detector: section.detector.clone(),
        embedder: section.embedder.clone(),
        precision: match section.precision {
            Precision::Fp32 => models::Precision::Fp32,
            Precision::Int8 => models::Precision::Int8,
        },
        accept_licence: section.accept_licence,
    }
}

/// The manifests of a folder, by name.
fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed =
        |e: std::io::Error| Failure::Usage(format!("the manifest folder {} cannot be read: {e}", folder.display()));
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    Ok(paths)
}
