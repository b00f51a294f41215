//! Files of a run that appear whole or not at all: whoever is killed while writing leaves the one before. Called by
//! everything that writes into a run's folder.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use crate::TrainingError;

/// Writes a file in place of the one before. It is on disk when this returns.
///
/// # Errors
/// [`TrainingError::DiskFull`] or [`TrainingError::Io`]; the one before is still there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainingError> {
    let temporary = path.with_added_extension("part");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().map_err(|e| {
        // Half a file helps nobody, and takes room that is short already.
        drop(fs::remove_file(&temporary));
        TrainingError::write(path, e)
    })
}

/// Writes a value as JSON.
///
/// # Errors
/// As [`write_whole`].
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainingError> {
    let text = serde_json::to_string_pretty(value).map_err(|e| TrainingError::run(path, e.to_string()))?;
    write_whole(path, (text + "\n").as_bytes())
}

/// Reads a value, if the file is there.
///
/// # Errors
/// A file that cannot be read or holds something else.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TrainingError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|e| TrainingError::run(path, format!("this is no file of a run: {e}")))
}

/// Bytes of a file, if it is there.
///
/// # Errors
/// [`TrainingError::Io`].
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, TrainingError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(TrainingError::read(path, e)),
    }
}

/// `f32` values as little-endian bytes.
pub(crate) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// And back; a rest of less than four bytes is left out.
pub(crate) fn floats_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}
