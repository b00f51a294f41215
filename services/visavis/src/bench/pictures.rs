//! Picture files of a folder. Called by the parts of the bench that look at photos.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Files with a picture's name, by name, in this folder and below.
///
/// # Errors
/// A folder that cannot be read.
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

/// So many of a list, evenly over it; 0 for all.
pub fn spread<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let length = all.len();
    if count == 0 || count >= length {
        return all;
    }
    // Item i is taken where the line from (0, 0) to (length, count) passes a whole number.
    let at = |i: usize| i * count / length;
    all.into_iter().enumerate().filter(|(i, _)| at(i + 1) > at(*i)).map(|(_, item)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_even_and_of_the_size_asked_for() {
        assert_eq!(spread((0..10).collect(), 5), [1, 3, 5, 7, 9]);
        assert_eq!(spread((0..7).collect(), 3).len(), 3);
        assert_eq!(spread(vec![1, 2], 0), [1, 2]);
        assert_eq!(spread(vec![1, 2], 9), [1, 2]);
    }
}
