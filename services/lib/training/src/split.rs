//! Who is trained on, who chooses the best step and who is met at the end only. People are drawn, not photos, by a hash
//! of seed and label: a person stays where she is when others come. Called by `prepare`.

use sha2::{Digest, Sha256};

use crate::{TrainingError, recipe::SplitPart};

/// Where a person belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trained on.
    Train,
    /// Chooses the best step.
    Validation,
    /// Met at the end only.
    Test,
}

/// Fewest people with two photos that there must be to compare strangers.
const FEWEST: usize = 2;

/// The role of every person. `photos` are their numbers of usable photos; people with one are trained on, since nothing
/// can be compared, and people without any count for nothing.
///
/// # Errors
/// [`TrainingError::TooFewIdentities`].
pub(crate) fn split(
    labels: &[String],
    photos: &[usize],
    seed: u64,
    part: &SplitPart,
) -> Result<Vec<Role>, TrainingError> {
    let mut order: Vec<usize> = (0..labels.len()).filter(|&i| photos[i] >= 2).collect();
    let usable = order.len();
    if usable < FEWEST {
        return Err(TrainingError::TooFewIdentities { what: "training", needed: FEWEST, found: usable });
    }
    let number = |share: f64| match share {
        s if s <= 0.0 => 0,
        s if s < 1.0 => ((s * usable as f64).round() as usize).max(FEWEST),
        s => (s.round() as usize).max(FEWEST),
    };
    let (validation, test) = (number(part.validation), number(part.test));
    let needed = validation + test + FEWEST;
    if usable < needed {
        return Err(TrainingError::TooFewIdentities { what: "training, validation and test", needed, found: usable });
    }
    order.sort_by_cached_key(|&i| {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(labels[i].as_bytes()).finalize();
        <[u8; 32]>::from(digest)
    });
    let mut roles = vec![Role::Train; labels.len()];
    order.iter().take(test).for_each(|&i| roles[i] = Role::Test);
    order.iter().skip(test).take(validation).for_each(|&i| roles[i] = Role::Validation);
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(n: usize) -> (Vec<String>, Vec<usize>) {
        ((0..n).map(|i| format!("person {i}")).collect(), vec![5; n])
    }

    fn count(roles: &[Role], role: Role) -> usize {
        roles.iter().filter(|r| **r == role).count()
    }

    #[test]
    fn shares_and_numbers_are_met_and_nobody_moves_when_others_come() {
        let part = SplitPart { validation: 0.1, test: 50.0 };
        let (labels, photos) = people(300);
        let roles = split(&labels, &photos, 1, &part).unwrap();
        assert_eq!((count(&roles, Role::Validation), count(&roles, Role::Test)), (30, 50));
        assert_ne!(roles, split(&labels, &photos, 2, &part).unwrap());
        let (more, photos) = people(310);
        let later = split(&more, &photos, 1, &part).unwrap();
        let moved = roles.iter().zip(&later).filter(|(a, b)| a != b).count();
        assert!(moved <= 12, "{moved} of 300 moved for 10 newcomers");
    }

    #[test]
    fn who_has_one_photo_is_trained_on_and_too_few_are_refused() {
        let (labels, mut photos) = people(8);
        photos[3] = 1;
        let part = SplitPart { validation: 2.0, test: 2.0 };
        assert_eq!(split(&labels, &photos, 1, &part).unwrap()[3], Role::Train);
        let refused = |photos: &[usize]| split(&labels[..photos.len()], photos, 1, &part).unwrap_err().to_string();
        assert!(refused(&[5]).contains("there are 1"));
        assert!(refused(&[5, 1, 0, 1]).contains("there are 1"));
        assert!(refused(&[5; 5]).contains("6 are needed"));
    }
}
