//! Photos of a folder as aligned faces in two files of the run: `crops.bin` with pixels, `crops.jsonl` with a line for
//! each photo. What is there and whose photo is unchanged is not made again. Called by `train`.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use runtime::Config;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use training::About;
use vision::{Alignment, Limits, MARGIN, Rgb8};

use super::folder::Cached;
use crate::failure::Failure;
use crate::person_folders::folders;
use crate::wiring;

mod align;

pub use align::Aligner;

/// Photos between two looks at whether to stop, and between two flushes.
const AT_ONCE: usize = 16;

/// A line of `crops.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Name below the folder.
    pub photo: String,
    /// Whose it is.
    pub person: String,
    /// SHA-256 of the photo's file.
    pub sha256: String,
    /// Where its pixels begin.
    pub offset: u64,
    /// Columns and rows.
    pub side: u32,
    /// Pose and quality.
    pub about: Option<About>,
    /// Why there are no pixels.
    pub failed: Option<String>,
}

impl Entry {
    /// Bytes of its pixels.
    pub const fn bytes(&self) -> usize {
        3 * self.side as usize * self.side as usize
    }
}

/// What became of a photo.
pub type Face = Result<(Rgb8, Option<About>), String>;

/// A photo of the folder.
pub struct Photo {
    /// Name below the folder.
    pub name: String,
    /// Whose it is.
    pub person: String,
    /// The file.
    pub path: PathBuf,
}

/// All photos of a folder, by name.
///
/// # Errors
/// A folder that cannot be read, or holds no folder with photos.
pub fn photos(data: &Path) -> Result<Vec<Photo>, Failure> {
    Ok(folders(data)?.into_iter().map(|(name, person, path)| Photo { name, person, path }).collect())
}

/// Makes the faces that are missing; nothing when it is told to stop, and what is made stays.
///
/// # Errors
/// A folder without photos, files that cannot be used, models that fail. A photo without a face is an entry.
pub async fn collect(
    config: &Config,
    data: &Path,
    out: &Path,
    aligned: bool,
    stop: &CancellationToken,
) -> Result<Option<Cached>, Failure> {
    let photos = photos(data)?;
    fs::create_dir_all(out).map_err(|e| Failure::io("the folder of the run", out, &e))?;
    let mut store = Store::open(out)?;
    store.keep_what_fits(&photos, aligned)?;
    let missing = &photos[store.entries.len()..];
    if !missing.is_empty() {
        let aligner = if aligned { None } else { Some(Aligner::load(config).await?) };
        let limits = wiring::worker(config).limits;
        let bar = align::bar(missing.len() as u64);
        for some in missing.chunks(AT_ONCE) {
            if stop.is_cancelled() {
                bar.finish_and_clear();
                return Ok(None);
            }
            store.add(some, faces(some, aligner.as_ref(), &limits, &bar).await?)?;
        }
        bar.finish_and_clear();
    }
    let path = out.join("crops.bin");
    let file = File::open(&path).map_err(|e| Failure::io("the crops", &path, &e))?;
    Ok(Some(Cached { file, entries: store.entries.into_iter().map(|(e, _)| e).collect() }))
}

/// The faces of a few photos, in order, and what their files hash to.
async fn faces(
    photos: &[Photo],
    aligner: Option<&Aligner>,
    limits: &Limits,
    bar: &ProgressBar,
) -> Result<Vec<(String, Face)>, Failure> {
    let mut made = Vec::with_capacity(photos.len());
    let mut files = Vec::with_capacity(photos.len());
    for photo in photos {
        files.push(fs::read(&photo.path).map_err(|e| Failure::io("the photo", &photo.path, &e))?);
    }
    let sums: Vec<String> = files.iter().map(|f| hex::encode(Sha256::digest(f))).collect();
    let found = match aligner {
        Some(aligner) => aligner.faces(files).await?,
        None => files.iter().map(|f| as_it_is(f, limits)).collect(),
    };
    bar.inc(photos.len() as u64);
    made.extend(sums.into_iter().zip(found));
    Ok(made)
}

/// A photo that is an aligned face already.
pub fn as_it_is(file: &[u8], limits: &Limits) -> Face {
    let picture = vision::decode(file, limits).map_err(|e| e.to_string())?;
    let side = Alignment::Arcface112.side();
    let size = (picture.width(), picture.height());
    if size != (side, side) && size != (side + 2 * MARGIN, side + 2 * MARGIN) {
        let wide = side + 2 * MARGIN;
        return Err(format!(
            "an aligned face has {side}×{side} pixels, or {wide}×{wide} with margin, not {}×{}",
            size.0, size.1
        ));
    }
    Ok((picture, None))
}

/// The two files, open at their ends.
struct Store {
    out: PathBuf,
    /// Lines, and how many bytes of `crops.jsonl` there are up to each one's end.
    entries: Vec<(Entry, u64)>,
}

impl Store {
    fn open(out: &Path) -> Result<Self, Failure> {
        let path = out.join("crops.jsonl");
        let mut entries = Vec::new();
        if let Ok(file) = File::open(&path) {
            let mut end = 0;
            // A line that a kill has cut is no line, and nor is what comes after it.
            for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
                let Ok(entry) = serde_json::from_slice::<Entry>(&line) else { break };
                end += line.len() as u64 + 1;
                entries.push((entry, end));
            }
        }
        Ok(Self { out: out.to_owned(), entries })
    }

    /// Keeps the first lines that are of these very photos, and cuts both files after them.
    fn keep_what_fits(&mut self, photos: &[Photo], aligned: bool) -> Result<(), Failure> {
        let size = fs::metadata(self.out.join("crops.bin")).map_or(0, |m| m.len());
        let fits = |(photo, (entry, _)): (&Photo, &(Entry, u64))| {
            let there = entry.failed.is_some() || entry.offset + entry.bytes() as u64 <= size;
            let same = || {
                let sum = fs::read(&photo.path).map(|f| hex::encode(Sha256::digest(f)));
                sum.is_ok_and(|s| s == entry.sha256)
            };
            // Aligned faces have no pose that was measured: a folder is taken either way, never half and half.
            let alike = entry.failed.is_some() || entry.about.is_none() == aligned;
            entry.photo == photo.name && there && alike && same()
        };
        let kept = photos.iter().zip(&self.entries).take_while(|pair| fits(*pair)).count();
        self.entries.truncate(kept);
        let (lines, pixels) = (self.entries.last().map_or(0, |(_, end)| *end), self.pixels());
        for (name, length) in [("crops.jsonl", lines), ("crops.bin", pixels)] {
            let path = self.out.join(name);
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            file.and_then(|f| f.set_len(length)).map_err(|e| Failure::io("the file", &path, &e))?;
        }
        Ok(())
    }

    /// End of the pixels.
    fn pixels(&self) -> u64 {
        let used = |(e, _): &(Entry, u64)| if e.failed.is_some() { 0 } else { e.offset + e.bytes() as u64 };
        self.entries.iter().map(used).max().unwrap_or(0)
    }

    /// Appends photos: pixels first, so that no line is without them.
    fn add(&mut self, photos: &[Photo], made: Vec<(String, Face)>) -> Result<(), Failure> {
        let (mut offset, mut end) = (self.pixels(), self.entries.last().map_or(0, |(_, end)| *end));
        let (mut pixels, mut lines, mut added) = (Vec::new(), Vec::new(), Vec::new());
        for (photo, (sha256, face)) in photos.iter().zip(made) {
            let (photo, person) = (photo.name.clone(), photo.person.clone());
            let mut entry = Entry { photo, person, sha256, offset, side: 0, about: None, failed: None };
            match face {
                Ok((crop, about)) => {
                    (entry.side, entry.about) = (crop.width(), about);
                    offset += entry.bytes() as u64;
                    pixels.extend_from_slice(crop.data());
                }
                Err(reason) => entry.failed = Some(reason),
            }
            let line = serde_json::to_string(&entry).map_err(|e| Failure::Other(e.to_string()))? + "\n";
            end += line.len() as u64;
            lines.extend_from_slice(line.as_bytes());
            added.push((entry, end));
        }
        for (name, bytes) in [("crops.bin", pixels), ("crops.jsonl", lines)] {
            let path = self.out.join(name);
            let file = OpenOptions::new().append(true).open(&path);
            let written = file.and_then(|mut f| {
                f.write_all(&bytes)?;
                f.sync_data()
            });
            written.map_err(|e| Failure::Unavailable(format!("{} cannot be written: {e}", path.display())))?;
        }
        self.entries.extend(added);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
