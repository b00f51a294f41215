//! Photos of a folder, for tools that measure on them: the bench and the quantiser.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Files with a picture's name, by name, in this folder and below.
pub fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| Failure::io("the folder", folder, &e);
    let mut found = Vec::new();
    let mut entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let ending = path.extension().map(|e| e.to_ascii_lowercase());
        if path.is_dir() {
            found.extend(pictures_below(&path)?);
        } else if ending.is_some_and(|e| ["jpg", "jpeg", "png", "webp"].iter().any(|known| e == *known)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// So many of the files, evenly over the list; 0 for all.
pub fn spread(files: Vec<PathBuf>, count: usize) -> Vec<PathBuf> {
    let every = if count == 0 { 1.0 } else { (files.len() as f64 / count as f64).max(1.0) };
    let wanted = (files.len() as f64 / every).round() as usize;
    (0..wanted).filter_map(|i| files.get((i as f64 * every) as usize).cloned()).collect()
}
