//! Score tables of a candidate: those of the model it began with, carried over by what both models make of the same
//! comparisons of held-out subjects. Called by a run that evaluates.

use domain::CalibrationTable;
use evaluation::{Embeddings, EvaluationError, SamePerson, equate};
use models::Manifest;

use crate::dataset::Dataset;

/// Tables by the detector they are for.
pub type Tables = Vec<(String, CalibrationTable)>;

/// Scores at most: what is more is passed over evenly.
const MOST_SCORES: usize = 1_000_000;

/// The tables of a candidate, which the run's name becomes part of; or why there can be none. A model that began with
/// random weights has none to carry over: its own come of what is promoted where there are pictures enough.
///
/// # Errors
/// For people: there is no table, and why.
pub fn carried_over(
    base: &Manifest,
    (run, data): (&str, &Dataset),
    (before, after): (&Embeddings, &Embeddings),
) -> Result<Tables, String> {
    let of_base = base.embedder().map_or(&[][..], |e| &e.calibration);
    if of_base.is_empty() {
        return Err(format!("{} has no score table that could be carried over", base.name));
    }
    let number = |i: usize| u32::try_from(data.identity(i)).unwrap_or(u32::MAX);
    let subjects: Vec<u32> = (0..data.len()).map(number).collect();
    // In the same order for both.
    let scores = |e: &Embeddings| e.non_mated(&subjects, &SamePerson::default(), MOST_SCORES).scores;
    let (first, second) = (scores(before), scores(after));
    let table = |(detector, table): &(String, CalibrationTable)| {
        let id = format!("{}+{run}", table.id());
        equate(table, &id, (&first, &second)).map(|made| (detector.clone(), made))
    };
    of_base.iter().map(table).collect::<Result<_, EvaluationError>>().map_err(|e| e.to_string())
}
