//! From scores to an answer: match, no match, or an honest "too close to call".

use serde::{Deserialize, Serialize};

use crate::{FaceId, SubjectId};

/// The outcome of an identification or verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The best candidate reaches the threshold, by the margin asked for.
    Match,
    /// Nobody reaches the threshold.
    NoMatch,
    /// Somebody reaches the threshold, but another subject is closer behind than the margin allows.
    Ambiguous,
}

/// One entry of the candidate list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// Whom the template belongs to.
    pub subject_id: SubjectId,
    /// The caller's own reference, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The template that scored.
    pub face_id: FaceId,
    /// Comparison score: cosine, higher is more alike.
    pub score: f64,
    /// How often a stranger scores as high, by the calibration table.
    pub fmr_at_score: f64,
    /// 1 for the best.
    pub rank: u32,
}

/// Decides from the best scores of **different subjects**, best first. Returns the decision and the margin between
/// the best and the second best subject (`None` when there is no second).
#[must_use]
pub fn decide(best_per_subject: &[f64], threshold: f64, min_margin: f64) -> (Decision, Option<f64>) {
    let margin = match best_per_subject {
        [first, second, ..] => Some(first - second),
        _ => None,
    };
    let decision = match best_per_subject.first() {
        Some(&s) if s >= threshold => match margin {
            Some(m) if m < min_margin => Decision::Ambiguous,
            _ => Decision::Match,
        },
        _ => Decision::NoMatch,
    };
    (decision, margin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_is_inclusive_and_margin_makes_it_ambiguous() {
        assert_eq!(decide(&[], 0.4, 0.0), (Decision::NoMatch, None));
        assert_eq!(decide(&[0.4], 0.4, 0.1), (Decision::Match, None));
        assert_eq!(decide(&[0.39, 0.1], 0.4, 0.0).0, Decision::NoMatch);
        assert_eq!(decide(&[0.6, 0.55], 0.4, 0.1).0, Decision::Ambiguous);
        assert_eq!(decide(&[0.6, 0.55], 0.4, 0.0).0, Decision::Match);
        assert_eq!(decide(&[f64::NAN], 0.4, 0.0).0, Decision::NoMatch);
    }
}
