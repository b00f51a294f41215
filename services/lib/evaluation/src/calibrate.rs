//! Calibration tables from non-mated scores: the score at each false match rate from 10⁻¹ to 10⁻⁶. Rates the sample is
//! too small for are extended along the last slope and marked.

use domain::{CalibrationPoint, CalibrationTable};
use serde::Serialize;

use crate::EvaluationError;

/// Non-mated scores that must lie at or above a score before its rate counts as measured.
pub const MIN_SUPPORT: usize = 10;

/// Negative powers of ten that a table covers.
const DECADES: std::ops::RangeInclusive<i32> = 1..=6;

/// One row of a table in the making.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationRow {
    /// False match rate.
    pub fmr: f64,
    /// Lowest score at which at most this share of the sample matches.
    pub score: f64,
    /// Scores of the sample that the rate allows at or above it.
    pub support: usize,
    /// Not measured but extended from the rows before it.
    pub extrapolated: bool,
}

/// A table with what it rests on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Size of the non-mated sample.
    pub sample: usize,
    /// Rows, rate falling. Rows that would need a score above 1 are left out.
    pub rows: Vec<CalibrationRow>,
}

impl Calibration {
    /// The table for a manifest; extrapolated rows are left out, as the table extends itself and marks its answers.
    ///
    /// # Errors
    /// When the scores do not rise strictly from row to row.
    pub fn table(&self, id: &str) -> Result<CalibrationTable, EvaluationError> {
        let measured = self.rows.iter().filter(|r| !r.extrapolated);
        let points = measured.map(|r| CalibrationPoint { fmr: r.fmr, score: r.score }).collect();
        CalibrationTable::new(id, points).map_err(EvaluationError::Table)
    }
}

/// Makes a table from scores of comparisons between different persons.
///
/// # Errors
/// When the sample has fewer than 100 × [`MIN_SUPPORT`] scores (two measured rows) or one that is not finite.
pub fn calibrate(mut non_mated: Vec<f64>) -> Result<Calibration, EvaluationError> {
    let needed = 100 * MIN_SUPPORT;
    if non_mated.len() < needed {
        return Err(EvaluationError::SampleTooSmall { needed, found: non_mated.len() });
    }
    if non_mated.iter().any(|s| !s.is_finite()) {
        return Err(EvaluationError::NotFinite);
    }
    non_mated.sort_by(|a, b| b.total_cmp(a));
    let mut rows: Vec<CalibrationRow> = Vec::new();
    for decade in DECADES {
        let fmr = 10f64.powi(-decade);
        let support = (fmr * non_mated.len() as f64 + 1e-9) as usize;
        let extrapolated = support < MIN_SUPPORT;
        // The first score that must stay below: ties with it must not match either.
        let score = match (extrapolated, rows.as_slice()) {
            (true, [.., a, b]) => 2.0 * b.score - a.score,
            _ => non_mated[support].next_up(),
        };
        if score <= 1.0 {
            rows.push(CalibrationRow { fmr, score, support, extrapolated });
        }
    }
    Ok(Calibration { sample: non_mated.len(), rows })
}
