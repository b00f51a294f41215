//! Calibration tables from non-mated scores: the score at each false match rate from 10⁻¹ to 10⁻⁶. Rates the sample is
//! too small for are extended along the last slope and marked.

use domain::{CalibrationPoint, CalibrationTable};
use serde::{Deserialize, Serialize};

use crate::EvaluationError;

/// Non-mated scores that must lie at or above a score before its rate counts as measured.
pub const MIN_SUPPORT: usize = 10;

/// Negative powers of ten that a table covers.
const DECADES: std::ops::RangeInclusive<i32> = 1..=6;

/// One row of a table in the making.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// Makes a table from scores of comparisons between different persons, and leaves these sorted, highest first.
///
/// # Errors
/// When the sample has fewer than 100 × [`MIN_SUPPORT`] scores (two measured rows) or one that is not finite.
pub fn calibrate(non_mated: &mut [f32]) -> Result<Calibration, EvaluationError> {
    let needed = 100 * MIN_SUPPORT;
    if non_mated.len() < needed {
        return Err(EvaluationError::SampleTooSmall { needed, found: non_mated.len() });
    }
    if non_mated.iter().any(|s| !s.is_finite()) {
        return Err(EvaluationError::NotFinite);
    }
    non_mated.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut rows: Vec<CalibrationRow> = Vec::new();
    for decade in DECADES {
        let fmr = 10f64.powi(-decade);
        let support = (fmr * non_mated.len() as f64 + 1e-9) as usize;
        let extrapolated = support < MIN_SUPPORT;
        // The first score that must stay below: ties with it must not match either.
        let score = match (extrapolated, rows.as_slice()) {
            (true, [.., a, b]) => 2.0 * b.score - a.score,
            _ => f64::from(non_mated[support].next_up()),
        };
        if score <= 1.0 {
            rows.push(CalibrationRow { fmr, score, support, extrapolated });
        }
    }
    Ok(Calibration { sample: non_mated.len(), rows })
}

/// From what score on two samples under different names are suspected to be of one person: above a quarter of the
/// mated scores, and above what the tail of the table lets expect once in the sample. `None` where there is too little
/// to say.
#[must_use]
pub fn suspicion(calibration: &Calibration, mut mated: Vec<f32>) -> Option<f64> {
    if mated.len() < MIN_SUPPORT {
        return None;
    }
    mated.sort_unstable_by(f32::total_cmp);
    let quarter = f64::from(mated[mated.len() / 4]);
    // The slope between two decades that double names, a handful of comparisons, hardly reach.
    let thick: Vec<&CalibrationRow> = calibration.rows.iter().filter(|r| r.support >= 100 * MIN_SUPPORT).collect();
    let expected = match thick.as_slice() {
        [.., a, b] => {
            let decades = (b.fmr * calibration.sample as f64).log10();
            b.score + (b.score - a.score) / (a.fmr / b.fmr).log10() * decades
        }
        _ => f64::NEG_INFINITY,
    };
    Some(quarter.max(expected))
}
