//! Aligned faces of a folder, as the training library reads them: out of one file of the run, from several threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use training::{About, Lineage, Samples, TrainingError};
use vision::Rgb8;

use super::crops::Entry;

/// The file and what lies in it.
pub struct Cached {
    /// Pixels.
    pub file: File,
    /// What is known of every photo.
    pub entries: Vec<Entry>,
}

/// The photos of a run.
pub struct FolderSamples {
    cached: Cached,
    identities: Vec<String>,
    numbers: Vec<usize>,
    lineage: Lineage,
}

impl FolderSamples {
    /// Of these photos.
    pub fn new(cached: Cached, lineage: Lineage) -> Self {
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut identities = Vec::new();
        let number = |entry: &Entry| {
            let person = &entry.person;
            *known.entry(person.clone()).or_insert_with(|| {
                identities.push(person.clone());
                identities.len() - 1
            })
        };
        let numbers = cached.entries.iter().map(number).collect();
        Self { cached, identities, numbers, lineage }
    }
}

impl Samples for FolderSamples {
    fn identities(&self) -> &[String] {
        &self.identities
    }

    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn identity(&self, sample: usize) -> usize {
        self.numbers[sample]
    }

    fn crop(&self, sample: usize) -> Result<Rgb8, TrainingError> {
        let entry = &self.cached.entries[sample];
        if let Some(reason) = &entry.failed {
            return Err(TrainingError::Unreadable(format!("{}: {reason}", entry.photo)));
        }
        let mut pixels = vec![0; entry.bytes()];
        let read = self.cached.file.read_exact_at(&mut pixels, entry.offset);
        read.map_err(|e| TrainingError::Unreadable(format!("{}: its crop cannot be read: {e}", entry.photo)))?;
        let crop = Rgb8::new(entry.side, entry.side, pixels);
        crop.ok_or_else(|| TrainingError::Unreadable(format!("{}: its crop is empty", entry.photo)))
    }

    fn name(&self, sample: usize) -> String {
        self.cached.entries[sample].photo.clone()
    }

    fn about(&self, sample: usize) -> Option<About> {
        self.cached.entries[sample].about
    }

    fn lineage(&self) -> Lineage {
        self.lineage.clone()
    }
}
