//! One exact search of a gallery of embeddings, to its last rank. A subject scores as her or his best template does, as
//! in the service.

use crate::{Embeddings, Mate, Outcome};

/// What a search found, and with which templates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// For [`crate::identification`].
    pub outcome: Outcome,
    /// Place of the best template of all; `None` in an empty gallery.
    pub top: Option<usize>,
    /// Place of the best template of the subject searched for.
    pub mate: Option<usize>,
}

/// Embeddings with their subjects.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    templates: Embeddings,
    owners: Vec<u32>,
}

impl Gallery {
    /// Adds a template; `false` if it is of another length than the ones before.
    pub fn push(&mut self, subject: u32, template: &[f32]) -> bool {
        let fits = self.templates.push(template);
        if fits {
            self.owners.push(subject);
        }
        fits
    }

    /// Number of templates.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Searches for the probe at a place of `probes`; `mate` is the number of the subject searched for, if enrolled.
    #[must_use]
    pub fn search(&self, probes: &Embeddings, probe: usize, mate: Option<u32>) -> Found {
        let subjects = self.owners.iter().max().map_or(0, |m| *m as usize + 1);
        // Best score and place for each subject.
        let mut best: Vec<Option<(f32, usize)>> = vec![None; subjects];
        for (place, &owner) in self.owners.iter().enumerate() {
            let score = self.templates.score_with(place, probes, probe);
            let held = &mut best[owner as usize];
            if held.is_none_or(|(s, _)| score > s) {
                *held = Some((score, place));
            }
        }
        let top = best.iter().flatten().copied().reduce(|a, b| if b.0 > a.0 { b } else { a });
        let mine = mate.and_then(|m| best.get(m as usize).copied().flatten());
        let mate = mine.map(|(score, _)| {
            // The mate itself has this score, hence is counted: that makes it rank 1 when nobody else reaches it.
            let rank = best.iter().flatten().filter(|(s, _)| *s >= score).count();
            Mate { score: f64::from(score), rank: u32::try_from(rank).unwrap_or(u32::MAX) }
        });
        let outcome = Outcome { top: top.map_or(f64::NEG_INFINITY, |t| f64::from(t.0)), mate };
        Found { outcome, top: top.map(|t| t.1), mate: mine.map(|m| m.1) }
    }
}
