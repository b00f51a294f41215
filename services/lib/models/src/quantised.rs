//! Models of 8 bits that were made here: a file and a manifest beside the float model in the cache, or wherever the
//! user wants them. Callers: `visavis models quantize`, and whoever opens the catalogue.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::{Cache, Checksum, Manifest, ModelError, Quantised};

/// File name of the manifest beside the float model.
const MANIFEST: &str = "int8.toml";

/// Digits of the calibration's id in a file name.
const SHORT: usize = 8;

/// The manifest of a model of 8 bits made from `source`: the same but for name and file. Its contract is its own, as
/// the file is. Score tables are the float model's.
#[must_use]
pub fn quantised_from(source: &Manifest, onnx: &[u8], how: Quantised) -> Manifest {
    let stem = source.file.strip_suffix(".onnx").unwrap_or(&source.file);
    let calibration = how.calibration.get(..SHORT).unwrap_or(&how.calibration);
    Manifest {
        name: format!("{}-int8", source.name),
        description: format!("{}, quantised to 8 bits", source.description),
        file: format!("{stem}-int8-v{}-{calibration}.onnx", how.version),
        bytes: Some(onnx.len() as u64),
        sha256: Checksum::of(onnx),
        sources: Vec::new(),
        quantised: Some(how),
        folder: None,
        ..source.clone()
    }
}

/// Writes a model of 8 bits and its manifest: beside the float model in the cache, where [`quantised_in`] finds them,
/// or to `out`, an `.onnx` path, with the manifest beside it under the same name. Each file appears whole or not at
/// all, the manifest last. Returns the path of the model.
///
/// # Errors
/// Failures of the file system; [`ModelError::Manifest`].
pub fn save_quantised(
    cache: &Cache,
    source: &Manifest,
    manifest: &Manifest,
    onnx: &[u8],
    out: Option<&Path>,
) -> Result<PathBuf, ModelError> {
    let mut manifest = manifest.clone();
    let (model, beside) = match out {
        None => {
            let folder = folder_of(cache, source);
            (folder.join(&manifest.file), folder.join(MANIFEST))
        }
        Some(out) => {
            manifest.file = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (out.to_owned(), out.with_extension("toml"))
        }
    };
    let text = manifest.to_toml("the float model, with this detector")?;
    // What was written has to read back: a file name that no manifest may hold is noticed here.
    Manifest::parse(&beside.display().to_string(), &text)?;
    write_whole(&model, onnx)?;
    write_whole(&beside, text.as_bytes())?;
    Ok(model)
}

/// The models of 8 bits that lie in the cache beside these float ones. One that cannot be read is an error: serving
/// with another model than the one that is meant would be worse.
///
/// # Errors
/// As [`Manifest::from_path`].
pub fn quantised_in<'a>(
    cache: &Cache,
    sources: impl Iterator<Item = &'a Manifest>,
) -> Result<Vec<Manifest>, ModelError> {
    let paths = sources.map(|m| folder_of(cache, m).join(MANIFEST)).filter(|p| p.is_file());
    let found = paths.map(|p| Manifest::from_path(&p)).collect::<Result<Vec<_>, _>>()?;
    Ok(found.into_iter().filter(|m| m.quantised.is_some()).collect())
}

fn folder_of(cache: &Cache, source: &Manifest) -> PathBuf {
    let path = cache.path_of(&source.artefact());
    path.parent().unwrap_or(cache.root()).to_owned()
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let failed = |e| ModelError::io(path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut temp = NamedTempFile::new_in(folder).map_err(failed)?;
    temp.write_all(bytes).map_err(failed)?;
    temp.as_file().sync_all().map_err(failed)?;
    crate::cache::readable_by_all(temp.as_file()).map_err(failed)?;
    temp.persist(path).map_err(|e| failed(e.error))?;
    File::open(folder).and_then(|d| d.sync_all()).map_err(failed)
}
