//! Pictures in a folder for each person. Called by `eval calibrate` and `train`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::eval::file_name;
use crate::failure::Failure;

/// Names of pictures end so; other files in the folders are passed over.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Name below the folder, person and path of every picture, in the order of the names.
///
/// # Errors
/// [`Failure::Usage`] for a folder that cannot be read or has no such pictures.
pub fn folders(root: &Path) -> Result<Vec<(String, String, PathBuf)>, Failure> {
    let failed =
        |at: &Path, e: std::io::Error| Failure::Usage(format!("the folder {} cannot be read: {e}", at.display()));
    let list = |at: &Path| -> Result<Vec<PathBuf>, Failure> {
        let entries = fs::read_dir(at).map_err(|e| failed(at, e))?;
        let mut paths =
            entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(|e| failed(at, e))?;
        paths.sort();
        Ok(paths)
    };
    let mut found = Vec::new();
    for person in list(root)?.into_iter().filter(|p| p.is_dir()) {
        let subject = file_name(&person);
        let ending = |p: &PathBuf| p.extension().is_some_and(|e| ENDINGS.iter().any(|k| e.eq_ignore_ascii_case(k)));
        for path in list(&person)?.into_iter().filter(|p| p.is_file() && ending(p)) {
            found.push((format!("{subject}/{}", file_name(&path)), subject.clone(), path));
        }
    }
    if found.is_empty() {
        let wanted = "there are no pictures in folders below it; it must hold a folder for each person";
        return Err(Failure::Usage(format!("{}: {wanted}", root.display())));
    }
    Ok(found)
}
