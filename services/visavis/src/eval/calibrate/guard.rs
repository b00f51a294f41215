//! Looks for one person under two names, which would make strangers look more alike than they are. Nothing is left out
//! because of it: a person looks, and says so with `--same-person`.

use std::collections::BTreeMap;
use std::fs;

use evaluation::document::{Guard, PicturePair, Suspect, Suspicion};
use evaluation::{Calibration, SamePerson, calibrate, suspicion};
use sha2::{Digest, Sha256};

use super::Made;
use crate::failure::Failure;

/// From this score on two pictures may be the same photo.
const NEAR_DUPLICATE: f32 = 0.9;

/// Comparisons that are looked at, the highest first.
const LOOKED_AT: usize = 2000;

/// Pairs of names that are reported.
const REPORTED: usize = 48;

impl Made<'_> {
    /// Suspects, and the table without them.
    pub(super) fn guard(&self) -> Result<Guard, Failure> {
        let Some(threshold) = suspicion(&self.table, self.embeddings.mated(&self.subjects)) else {
            return Ok(Guard::default());
        };
        #[expect(clippy::cast_possible_truncation, reason = "a score")]
        let pairs =
            self.embeddings.non_mated_from(&self.subjects, &self.sample.one_person, threshold as f32, LOOKED_AT);
        let mut by_names: BTreeMap<(u32, u32), Vec<&evaluation::ScoredPair>> = BTreeMap::new();
        for pair in &pairs {
            let (a, b) = (self.subjects[pair.left], self.subjects[pair.right]);
            by_names.entry((a.min(b), a.max(b))).or_default().push(pair);
        }
        let mut suspects = Vec::new();
        for of in by_names.values() {
            suspects.extend(of.first().map(|pair| self.suspect(pair, of.len())).transpose()?);
        }
        suspects.sort_by(|a, b| b.pair.score.total_cmp(&a.pair.score));
        suspects.truncate(REPORTED);
        let without = self.without(by_names.keys().copied());
        Ok(Guard {
            threshold: Some(threshold),
            comparisons: pairs.len(),
            suspects,
            rows_without: without.map(|t| t.rows).unwrap_or_default(),
        })
    }

    fn without(&self, names: impl Iterator<Item = (u32, u32)>) -> Option<Calibration> {
        let same: SamePerson = self.sample.one_person.iter().copied().chain(names).collect();
        if same.len() == self.sample.one_person.len() {
            return None;
        }
        let mut scores = self.embeddings.non_mated(&self.subjects, &same, self.non_mated.scores.len());
        calibrate(&mut scores.scores).ok()
    }

    fn suspect(&self, pair: &evaluation::ScoredPair, comparisons: usize) -> Result<Suspect, Failure> {
        let [left, right] = [pair.left, pair.right].map(|i| self.enrolled[i]);
        let checksum = |picture: &super::sample::Picture| {
            let path = std::path::Path::new(&picture.key);
            let bytes = fs::read(path).map_err(|e| Failure::io("the picture", path, &e))?;
            Ok::<_, Failure>(Sha256::digest(&bytes))
        };
        let kind = match pair.score >= NEAR_DUPLICATE {
            true if checksum(left)? == checksum(right)? => Suspicion::SameFile,
            true => Suspicion::NearDuplicate,
            false => Suspicion::Alike,
        };
        let name = |p: &super::sample::Picture| {
            self.sample.people.names().get(p.subject as usize).cloned().unwrap_or_default()
        };
        Ok(Suspect {
            kind,
            subject: name(left),
            other: name(right),
            pair: PicturePair { left: left.shown(), right: right.shown(), score: f64::from(pair.score) },
            comparisons,
        })
    }
}
