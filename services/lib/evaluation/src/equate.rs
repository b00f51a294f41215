//! A score table for a model that was trained further, where there are far too few pictures to measure one: the table of
//! the model it began with, carried over. Both models score the same comparisons of different persons; where a score of the
//! one lies among its own, in standard deviations from their mean, there the other's lies (linear equating). What is
//! special about the pictures at hand is so in both samples, and so cancels out. Called by the trainer.

use domain::{CalibrationPoint, CalibrationTable};

use crate::EvaluationError;

/// Fewest comparisons of different persons that a table is carried over by.
pub const EQUATED_FROM: usize = 100;

/// The table of the second model from the table of the first and what both score, comparison by comparison.
///
/// # Errors
/// Fewer scores than [`EQUATED_FROM`], two lists of different lengths, scores that are not finite or all the same, and
/// what does not make a table.
pub fn equate(
    table: &CalibrationTable,
    id: &str,
    (first, second): (&[f32], &[f32]),
) -> Result<CalibrationTable, EvaluationError> {
    if first.len() != second.len() {
        return Err(EvaluationError::NotPaired);
    }
    if first.len() < EQUATED_FROM {
        return Err(EvaluationError::SampleTooSmall { needed: EQUATED_FROM, found: first.len() });
    }
    let ((from, width), (to, other)) = (spread(first), spread(second));
    if ![from, width, to, other].iter().all(|v| v.is_finite()) {
        return Err(EvaluationError::NotFinite);
    }
    if width <= 0.0 || other <= 0.0 {
        return Err(EvaluationError::Table("all scores of a model are the same".to_owned()));
    }
    let carried = |p: &CalibrationPoint| CalibrationPoint { fmr: p.fmr, score: to + (p.score - from) / width * other };
    // No two unit vectors score more than 1: rates that would need it cannot be told.
    let points = table.points().iter().map(carried).filter(|p| p.score <= 1.0).collect();
    CalibrationTable::new(id, points).map_err(EvaluationError::Table)
}

/// Mean and standard deviation.
fn spread(scores: &[f32]) -> (f64, f64) {
    let n = scores.len() as f64;
    let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / n;
    let variance = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> CalibrationTable {
        let points = [(1e-1, 0.13), (1e-2, 0.23), (1e-3, 0.31), (1e-4, 0.37)];
        let points = points.map(|(fmr, score)| CalibrationPoint { fmr, score }).to_vec();
        CalibrationTable::new("first", points).expect("a table")
    }

    /// As good as normally distributed: sums of evenly distributed numbers.
    fn scores(count: usize) -> Vec<f32> {
        let mut state = 5u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..count).map(|_| 0.1 * (0..12).map(|_| next()).sum::<f32>()).collect()
    }

    #[test]
    fn the_same_share_of_strangers_matches_before_and_after() {
        let first = scores(200_000);
        let second: Vec<f32> = first.iter().map(|s| 0.6 * s + 0.05).collect();
        let made = equate(&table(), "second", (&first, &second)).expect("a table");
        assert_eq!((made.id(), made.points().len()), ("second", 4));
        let above = |scores: &[f32], least: f64| scores.iter().filter(|s| f64::from(**s) >= least).count();
        for (p, q) in table().points().iter().zip(made.points()) {
            assert_eq!(p.fmr.to_bits(), q.fmr.to_bits());
            let (was, is) = (above(&first, p.score), above(&second, q.score));
            assert!(was.abs_diff(is) <= 1 + was / 1000, "at {}: {was} and {is}", p.fmr);
        }
    }

    #[test]
    fn what_lies_above_1_is_left_out_and_too_little_is_refused() {
        let first = scores(EQUATED_FROM);
        let wide: Vec<f32> = first.iter().map(|s| 2.9 * s).collect();
        let made = equate(&table(), "wide", (&first, &wide)).expect("a table");
        assert!(made.points().len() < 4 && made.points().iter().all(|p| p.score <= 1.0), "{made:?}");
        let few = &first[..EQUATED_FROM - 1];
        let small = EvaluationError::SampleTooSmall { needed: EQUATED_FROM, found: EQUATED_FROM - 1 };
        assert_eq!(equate(&table(), "x", (few, few)), Err(small));
        assert_eq!(equate(&table(), "x", (&first, few)), Err(EvaluationError::NotPaired));
        let same = vec![0.2; EQUATED_FROM];
        assert!(matches!(equate(&table(), "x", (&first, &same)), Err(EvaluationError::Table(_))));
    }
}
