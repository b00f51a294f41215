//! Comparisons of people who were held out: all pairs of one person, and pairs of strangers up to a number, the same
//! ones whichever model is measured. Called by validation and `evaluate`.

use evaluation::{Comparison, Roc, Scores};
use vision::Random;

use crate::{TrainingError, recipe::ValidationPart};

/// Stream of the strangers that are drawn.
const STRANGERS: u64 = 0x57_4a;

/// Two places among the templates, and whether they are of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub left: usize,
    pub right: usize,
    pub mated: bool,
}

/// Pairs of photos of these people, in the order of the photos.
pub(crate) fn pairs(identities: &[usize], most_strangers: usize, seed: u64) -> Vec<Pair> {
    let n = identities.len();
    let all = || (0..n).flat_map(move |left| (left + 1..n).map(move |right| (left, right)));
    let pair = |(left, right): (usize, usize)| Pair { left, right, mated: identities[left] == identities[right] };
    let strangers = all().map(pair).filter(|p| !p.mated).count();
    if strangers <= most_strangers {
        return all().map(pair).collect();
    }
    let mut found: Vec<Pair> = all().map(pair).filter(|p| p.mated).collect();
    let mut random = Random::of(&[seed, STRANGERS]);
    let mated = found.len();
    while found.len() < mated + most_strangers {
        let (a, b) = (random.below(n), random.below(n));
        if identities[a] != identities[b] {
            found.push(pair((a.min(b), a.max(b))));
        }
    }
    found
}

/// Scores of the pairs: cosines of templates of length one.
pub(crate) fn comparisons(pairs: &[Pair], templates: &[f32], identities: &[usize]) -> Vec<Comparison> {
    let dim = templates.len() / identities.len().max(1);
    let row = |i: usize| &templates[i * dim..(i + 1) * dim];
    let score =
        |p: &Pair| -> f64 { row(p.left).iter().zip(row(p.right)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let subject = |i: usize| u32::try_from(identities[i]).unwrap_or(u32::MAX);
    let comparison = |p: &Pair| Comparison {
        mated: p.mated,
        score: Some(score(p)).filter(|s| s.is_finite()),
        subjects: Some([subject(p.left), subject(p.right)]),
        cohort: None,
    };
    pairs.iter().map(comparison).collect()
}

/// True accept rate at the recipe's false match rate, and the area under the ROC.
///
/// # Errors
/// Too few pairs.
pub(crate) fn measure(comparisons: &[Comparison], part: &ValidationPart) -> Result<(f64, f64), TrainingError> {
    let roc = Roc::new(&Scores::from_comparisons(comparisons)?);
    Ok((roc.tar_at_fmr(part.fmr).tar, roc.auc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_of_one_person_and_as_many_strangers_as_wanted() {
        let identities = [4, 4, 4, 9, 9, 2];
        let all = pairs(&identities, 1000, 1);
        assert_eq!((all.len(), all.iter().filter(|p| p.mated).count()), (15, 4));
        let few = pairs(&identities, 6, 1);
        assert_eq!((few.len(), few.iter().filter(|p| p.mated).count()), (10, 4));
        assert_eq!(few, pairs(&identities, 6, 1));
        assert!(few.iter().all(|p| p.mated == (identities[p.left] == identities[p.right])));
    }

    #[test]
    fn scores_are_cosines_and_what_is_no_number_has_none() {
        let templates = [1.0, 0.0, 0.6, 0.8, f32::NAN, 0.0];
        let found = comparisons(&pairs(&[0, 0, 1], 10, 1), &templates, &[0, 0, 1]);
        assert!((found[0].score.unwrap() - 0.6).abs() < 1e-6 && found[1].score.is_none());
    }
}
