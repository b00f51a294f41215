//! The protocol with folds (Huang et al. 2007, LFW View 2): the threshold is chosen on all folds but one and measured
//! on that one, in turn.

use serde::{Deserialize, Serialize};

use crate::{Comparison, EvaluationError, threshold_from};

/// What one fold came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// Its name in the list.
    pub name: String,
    /// Pairs in it.
    pub pairs: usize,
    /// Chosen on the other folds.
    pub threshold: f64,
    /// Pairs of this fold decided rightly, failures being errors.
    pub correct: usize,
    /// Share of them.
    pub accuracy: f64,
}

/// All folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldsReport {
    /// In the order of their names' first appearance.
    pub folds: Vec<Fold>,
    /// Mean of the folds' accuracies.
    pub accuracy: f64,
    /// Standard error of that mean: the folds' standard deviation (n − 1) over √n.
    pub standard_error: f64,
    /// Mean of the folds' thresholds.
    pub threshold: f64,
}

/// Evaluates folds; `fold_of` names the fold of each comparison.
///
/// # Errors
/// [`EvaluationError::Folds`] for fewer than two folds or lists of different lengths, and as [`crate::Scores::new`]
/// when what is left for choosing a threshold lacks a kind with a score.
pub fn folds(comparisons: &[Comparison], fold_of: &[String]) -> Result<FoldsReport, EvaluationError> {
    let mut names: Vec<&String> = Vec::new();
    for name in fold_of {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() < 2 || fold_of.len() != comparisons.len() {
        return Err(EvaluationError::Folds { found: names.len() });
    }
    let fold = |name: &&String| {
        let (inside, outside): (Vec<_>, Vec<_>) =
            comparisons.iter().zip(fold_of).partition::<Vec<_>, _>(|(_, of)| of == name);
        let outside: Vec<Comparison> = outside.into_iter().map(|(c, _)| *c).collect();
        let threshold = threshold_from(&outside)?;
        let right = |c: &Comparison| c.score.is_some_and(|s| (s >= threshold) == c.mated);
        let (pairs, correct) = (inside.len(), inside.iter().filter(|(c, _)| right(c)).count());
        Ok(Fold { name: (*name).clone(), pairs, threshold, correct, accuracy: correct as f64 / pairs as f64 })
    };
    let folds: Vec<Fold> = names.iter().map(fold).collect::<Result<_, EvaluationError>>()?;
    let n = folds.len() as f64;
    let mean = |of: fn(&Fold) -> f64| folds.iter().map(of).sum::<f64>() / n;
    let (accuracy, threshold) = (mean(|f| f.accuracy), mean(|f| f.threshold));
    let spread: f64 = folds.iter().map(|f| (f.accuracy - accuracy).powi(2)).sum();
    Ok(FoldsReport { accuracy, threshold, standard_error: (spread / (n - 1.0) / n).sqrt(), folds })
}
