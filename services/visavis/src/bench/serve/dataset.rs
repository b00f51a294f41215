//! Photos for the load: a folder for each identity, the first photo of each enrolled, others to ask with. Called by
//! `serve`.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use crate::bench::pictures::{pictures_below, spread};
use crate::failure::Failure;

/// A photo and whom it shows.
pub struct Photo {
    /// The folder's name.
    pub identity: String,
    /// The file.
    pub bytes: Bytes,
}

/// What is enrolled and what is asked with.
pub struct Dataset {
    /// One photo of each identity.
    pub gallery: Vec<Photo>,
    /// Other photos of some of them.
    pub probes: Vec<Photo>,
}

impl Dataset {
    /// Up to `gallery` identities, those with several photos first, and up to `probes` photos, evenly over the names.
    /// Probes have at least `min_pixels`.
    ///
    /// # Errors
    /// A folder that cannot be read, or holds no identity with two photos.
    pub fn read(folder: &Path, gallery: usize, probes: usize, min_pixels: u64) -> Result<Self, Failure> {
        let failed = |e: std::io::Error| Failure::io("the folder", folder, &e);
        let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut people = Vec::new();
        for entry in entries.iter().filter(|e| e.path().is_dir()) {
            let files = pictures_below(&entry.path())?;
            people.push((entry.file_name().to_string_lossy().into_owned(), files));
        }
        // Those with a photo to spare first; by name within.
        people.sort_by(|a, b| (a.1.len() < 2).cmp(&(b.1.len() < 2)).then_with(|| a.0.cmp(&b.0)));
        people.retain(|(_, files)| !files.is_empty());
        people.truncate(gallery.max(1));
        let read = |identity: &str, path: &Path| {
            let bytes: Bytes = fs::read(path).map_err(|e| Failure::io("the photo", path, &e))?.into();
            Ok::<_, Failure>(Photo { identity: identity.to_owned(), bytes })
        };
        let enrolled = people.iter().map(|(identity, files)| read(identity, &files[0])).collect::<Result<_, _>>()?;
        let mut others = Vec::new();
        for (identity, files) in &people {
            for path in files.iter().skip(1) {
                let photo = read(identity, path)?;
                let pixels = vision::probe(&photo.bytes, &vision::Limits::default());
                if pixels.is_ok_and(|i| u64::from(i.width) * u64::from(i.height) >= min_pixels) {
                    others.push(photo);
                }
            }
        }
        let probes = spread(others, probes);
        if probes.is_empty() {
            let detail =
                "no folder has a second photo to ask with: --images names a folder with a folder for each identity";
            return Err(Failure::Usage(detail.into()));
        }
        Ok(Self { gallery: enrolled, probes })
    }
}
