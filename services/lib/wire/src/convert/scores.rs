//! Thresholds, decisions, candidates and embeddings.

use domain::{Candidate, Decision, ResolvedThreshold, ThresholdSpec};

use super::{parsed, present};
use crate::{WireError, v1};

impl From<ThresholdSpec> for v1::ThresholdSpec {
    fn from(t: ThresholdSpec) -> Self {
        use v1::threshold_spec::Target;
        let target = t.target_fpir.map(Target::TargetFpir);
        let target = target.or(t.target_fmr.map(Target::TargetFmr)).or(t.score.map(Target::Score));
        Self { target }
    }
}

/// The threshold asked for, if one was.
impl From<v1::ThresholdSpec> for Option<ThresholdSpec> {
    fn from(t: v1::ThresholdSpec) -> Self {
        use v1::threshold_spec::Target;
        Some(match t.target? {
            Target::TargetFpir(r) => ThresholdSpec::fpir(r),
            Target::TargetFmr(r) => ThresholdSpec::fmr(r),
            Target::Score(s) => ThresholdSpec { target_fpir: None, target_fmr: None, score: Some(s) },
        })
    }
}

impl From<ResolvedThreshold> for v1::ResolvedThreshold {
    fn from(t: ResolvedThreshold) -> Self {
        Self {
            target: Some(t.target.into()),
            score: t.score,
            calibration_id: t.calibration_id,
            gallery_size: t.gallery_size,
            extrapolated: t.extrapolated,
        }
    }
}

impl TryFrom<v1::ResolvedThreshold> for ResolvedThreshold {
    type Error = WireError;
    fn try_from(t: v1::ResolvedThreshold) -> Result<Self, WireError> {
        let target: Option<ThresholdSpec> = present(t.target, "threshold.target")?.into();
        Ok(Self {
            target: present(target, "threshold.target")?,
            score: t.score,
            calibration_id: t.calibration_id,
            gallery_size: t.gallery_size,
            extrapolated: t.extrapolated,
        })
    }
}

impl From<Decision> for v1::Decision {
    fn from(d: Decision) -> Self {
        match d {
            Decision::Match => Self::Match,
            Decision::NoMatch => Self::NoMatch,
            Decision::Ambiguous => Self::Ambiguous,
        }
    }
}

impl TryFrom<v1::Decision> for Decision {
    type Error = WireError;
    fn try_from(d: v1::Decision) -> Result<Self, WireError> {
        match d {
            v1::Decision::Match => Ok(Self::Match),
            v1::Decision::NoMatch => Ok(Self::NoMatch),
            v1::Decision::Ambiguous => Ok(Self::Ambiguous),
            v1::Decision::Unspecified => Err(WireError::Field { field: "decision" }),
        }
    }
}

impl From<Candidate> for v1::Candidate {
    fn from(c: Candidate) -> Self {
        Self {
            subject_id: c.subject_id.to_string(),
            external_id: c.external_id,
            face_id: c.face_id.to_string(),
            score: c.score,
            fmr_at_score: c.fmr_at_score,
            rank: c.rank,
        }
    }
}

impl TryFrom<v1::Candidate> for Candidate {
    type Error = WireError;
    fn try_from(c: v1::Candidate) -> Result<Self, WireError> {
        Ok(Self {
            subject_id: parsed(&c.subject_id, "candidate.subject_id")?,
            external_id: c.external_id,
            face_id: parsed(&c.face_id, "candidate.face_id")?,
            score: c.score,
            fmr_at_score: c.fmr_at_score,
            rank: c.rank,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_keep_which_target_was_meant() {
        let score = ThresholdSpec { target_fpir: None, target_fmr: None, score: Some(0.4) };
        for t in [ThresholdSpec::fpir(0.003), ThresholdSpec::fmr(1e-6), score] {
            assert_eq!(Option::<ThresholdSpec>::from(v1::ThresholdSpec::from(t)), Some(t));
        }
        assert_eq!(Option::<ThresholdSpec>::from(v1::ThresholdSpec::default()), None);
    }
}
