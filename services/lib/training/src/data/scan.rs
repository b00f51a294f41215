//! Reads every photo once: checks it, hashes it, keeps a thumbnail of it.

use sha2::{Digest, Sha256};
use vision::{Alignment, Rgb8, resize};

use crate::{
    Samples, TrainingError,
    progress::{Event, Next, Phase, Progress},
};

/// Side of a thumbnail.
pub(super) const SIDE: usize = 16;

/// Photos between two reports of progress.
const TOLD_EVERY: usize = 64;

/// What the first look at all photos came to.
pub(crate) struct Scan {
    /// Places of the usable photos.
    pub usable: Vec<usize>,
    /// Places of the others, and why.
    pub unusable: Vec<(usize, String)>,
    /// SHA-256 over labels and pixels of the usable ones.
    pub sha256: String,
    /// Greys of the usable ones, `SIDE × SIDE` each.
    pub thumbnails: Vec<[u8; SIDE * SIDE]>,
}

/// Looks at all of them; `None` when it was told to stop.
///
/// # Errors
/// No photo at all, or none that can be used; failures that are not a photo's own.
pub(crate) fn scan(samples: &dyn Samples, progress: &mut dyn Progress) -> Result<Option<Scan>, TrainingError> {
    if samples.is_empty() {
        return Err(TrainingError::NoSamples);
    }
    let mut hash = Sha256::new();
    let mut found = Scan { usable: Vec::new(), unusable: Vec::new(), sha256: String::new(), thumbnails: Vec::new() };
    for sample in 0..samples.len() {
        match samples.crop(sample).and_then(|crop| checked(samples, sample, crop)) {
            Ok(crop) => {
                let label = &samples.identities()[samples.identity(sample)];
                hash.update((label.len() as u64).to_le_bytes());
                hash.update(label.as_bytes());
                hash.update([crop.width(), crop.height()].map(u32::to_le_bytes).concat());
                hash.update(crop.data());
                found.thumbnails.push(thumbnail(&crop));
                found.usable.push(sample);
            }
            Err(TrainingError::Unreadable(reason)) => found.unusable.push((sample, reason)),
            Err(e) => return Err(e),
        }
        let done = sample + 1;
        let tell = done.is_multiple_of(TOLD_EVERY) || done == samples.len();
        if tell && progress.at(&Event::Phase { phase: Phase::Reading, done, of: samples.len() }) == Next::Stop {
            return Ok(None);
        }
    }
    if found.usable.is_empty() {
        let first = found.unusable.into_iter().next().map_or_else(String::new, |(_, reason)| reason);
        return Err(TrainingError::NothingUsable { samples: samples.len(), first });
    }
    found.sha256 = hex::encode(hash.finalize());
    Ok(Some(found))
}

/// Refuses what no augmentation could use.
fn checked(samples: &dyn Samples, sample: usize, crop: Rgb8) -> Result<Rgb8, TrainingError> {
    let side = Alignment::Arcface112.side();
    if samples.identity(sample) >= samples.identities().len() {
        return Err(TrainingError::Unreadable("it is of nobody who is listed".into()));
    }
    if crop.width() != crop.height() || crop.width() < side {
        let size = format!("{}×{}", crop.width(), crop.height());
        return Err(TrainingError::Unreadable(format!("an aligned face has {side}×{side} pixels or more, not {size}")));
    }
    Ok(crop)
}

fn thumbnail(crop: &Rgb8) -> [u8; SIDE * SIDE] {
    // Reduced in two steps: each thumbnail's pixel then rests on more than four of the crop's.
    let small = resize(&resize(crop, 56, 56), SIDE as u32, SIDE as u32);
    let mut greys = [0; SIDE * SIDE];
    for (grey, p) in greys.iter_mut().zip(small.data().as_chunks::<3>().0) {
        let [r, g, b] = p.map(u32::from);
        *grey = ((299 * r + 587 * g + 114 * b) / 1000) as u8;
    }
    greys
}
