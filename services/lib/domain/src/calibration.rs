//! Thresholds as error rates. A calibration table says which score goes with which false match rate; a target
//! FPIR is turned into a rate per comparison for the gallery at hand, and that into a score.

use serde::{Deserialize, Serialize};

use crate::Problem;

/// One row of a table: at this score, this share of non-mated comparisons is at or above it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationPoint {
    /// False match rate, in (0, 1).
    pub fmr: f64,
    /// Comparison score (cosine).
    pub score: f64,
}

/// FMR against score for one embedding contract, from a large non-mated sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawTable", into = "RawTable")]
pub struct CalibrationTable {
    id: String,
    points: Vec<CalibrationPoint>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    id: String,
    points: Vec<CalibrationPoint>,
}

impl TryFrom<RawTable> for CalibrationTable {
    type Error = String;
    fn try_from(raw: RawTable) -> Result<Self, String> {
        Self::new(raw.id, raw.points)
    }
}

impl From<CalibrationTable> for RawTable {
    fn from(t: CalibrationTable) -> Self {
        Self { id: t.id, points: t.points }
    }
}

/// What a caller asked for: exactly one of the three.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ThresholdSpec {
    /// Share of non-mated searches that may return somebody, for the whole gallery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_fpir: Option<f64>,
    /// Share of non-mated comparisons that may match, for one comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_fmr: Option<f64>,
    /// A fixed comparison score; what it means depends on model and gallery size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// A checked [`ThresholdSpec`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ThresholdTarget {
    /// False positive identification rate of a whole search.
    Fpir(f64),
    /// False match rate of one comparison.
    Fmr(f64),
    /// A fixed score.
    Score(f64),
}

/// How a target came out for the gallery at hand; echoed in every answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolvedThreshold {
    /// What was asked for.
    pub target: ThresholdSpec,
    /// Scores at or above it match.
    pub score: f64,
    /// The table that was used.
    pub calibration_id: String,
    /// Number of templates the rate was resolved for; 1 for a verification.
    pub gallery_size: u64,
    /// The rate lies outside the table's sample and was extended beyond it: treat with care.
    pub extrapolated: bool,
}

impl ThresholdSpec {
    /// A target FPIR.
    #[must_use]
    pub const fn fpir(rate: f64) -> Self {
        Self { target_fpir: Some(rate), target_fmr: None, score: None }
    }

    /// A target FMR.
    #[must_use]
    pub const fn fmr(rate: f64) -> Self {
        Self { target_fpir: None, target_fmr: Some(rate), score: None }
    }

    /// Checks that exactly one target is given and lies in its range.
    ///
    /// # Errors
    /// `invalid_request` naming the field.
    pub fn target(&self) -> Result<ThresholdTarget, Problem> {
        let rate = |name: &str, r: f64| {
            if r > 0.0 && r < 1.0 {
                Ok(r)
            } else {
                Err(Problem::invalid(format!("/threshold/{name}"), "must be a rate above 0 and below 1"))
            }
        };
        match (self.target_fpir, self.target_fmr, self.score) {
            (Some(r), None, None) => rate("target_fpir", r).map(ThresholdTarget::Fpir),
            (None, Some(r), None) => rate("target_fmr", r).map(ThresholdTarget::Fmr),
            (None, None, Some(s)) if (-1.0..=1.0).contains(&s) => Ok(ThresholdTarget::Score(s)),
            (None, None, Some(_)) => Err(Problem::invalid("/threshold/score", "must lie between -1 and 1")),
            _ => Err(Problem::invalid("/threshold", "give exactly one of target_fpir, target_fmr and score")),
        }
    }
}

impl CalibrationTable {
    /// A table from at least two points; sorted here, score must rise strictly as the rate falls.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the points.
    pub fn new(id: impl Into<String>, mut points: Vec<CalibrationPoint>) -> Result<Self, String> {
        points.sort_by(|a, b| b.fmr.total_cmp(&a.fmr));
        if points.len() < 2 {
            return Err("a calibration table needs at least two points".into());
        }
        if points.iter().any(|p| !(p.fmr > 0.0 && p.fmr < 1.0 && p.score.is_finite())) {
            return Err("a calibration point needs a rate between 0 and 1 and a finite score".into());
        }
        if points.windows(2).any(|w| w[0].fmr <= w[1].fmr || w[0].score >= w[1].score) {
            return Err("calibration scores must rise strictly as the rate falls".into());
        }
        Ok(Self { id: id.into(), points })
    }

    /// The table's id, echoed in answers.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Rows by falling rate.
    #[must_use]
    pub fn points(&self) -> &[CalibrationPoint] {
        &self.points
    }

    /// The score at a rate, and whether the rate lies outside the sample. Between rows the score is linear in
    /// log10 FMR, and beyond them the nearest two rows are extended; never above 1, where nothing could match.
    #[must_use]
    pub fn score_at(&self, fmr: f64) -> (f64, bool) {
        let x = fmr.max(f64::MIN_POSITIVE).log10();
        let (a, b, outside) = self.segment(|p| p.fmr.log10() <= x, fmr);
        let (xa, xb) = (a.fmr.log10(), b.fmr.log10());
        let score = a.score + (b.score - a.score) * (x - xa) / (xb - xa);
        (score.clamp(-1.0, 1.0), outside)
    }

    /// The false match rate at a score, in (0, 1]: how rare so alike a stranger is.
    #[must_use]
    pub fn fmr_at(&self, score: f64) -> f64 {
        let (a, b, _) = self.segment(|p| p.score >= score, f64::NAN);
        let t = (score - a.score) / (b.score - a.score);
        let log = a.fmr.log10() + (b.fmr.log10() - a.fmr.log10()) * t;
        10f64.powf(log.min(0.0))
    }

    /// The two rows around the first row for which `reached` holds, the end rows beyond either end.
    fn segment(
        &self,
        reached: impl Fn(&CalibrationPoint) -> bool,
        fmr: f64,
    ) -> (CalibrationPoint, CalibrationPoint, bool) {
        let i = self.points.partition_point(|p| !reached(p)).clamp(1, self.points.len() - 1);
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        (self.points[i - 1], self.points[i], fmr > first.fmr || fmr < last.fmr)
    }

    /// Turns a target into a score for a gallery of `gallery_size` templates, of which each is one comparison:
    /// FPIR = 1 − (1 − FMR)^N (ISO/IEC 19795-1).
    ///
    /// # Errors
    /// As [`ThresholdSpec::target`].
    pub fn resolve(&self, spec: ThresholdSpec, gallery_size: u64) -> Result<ResolvedThreshold, Problem> {
        let (score, extrapolated) = match spec.target()? {
            ThresholdTarget::Score(s) => (s, false),
            ThresholdTarget::Fmr(r) => self.score_at(r),
            ThresholdTarget::Fpir(r) => self.score_at(fmr_for_fpir(r, gallery_size)),
        };
        Ok(ResolvedThreshold { target: spec, score, calibration_id: self.id.clone(), gallery_size, extrapolated })
    }
}

/// FMR = 1 − (1 − FPIR)^(1/N), computed without cancellation for small rates.
fn fmr_for_fpir(fpir: f64, gallery_size: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a gallery has far fewer than 2^52 templates")]
    let n = gallery_size.max(1) as f64;
    -((-fpir).ln_1p() / n).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> CalibrationTable {
        let rows = [(1e-2, 0.2991), (1e-3, 0.3655), (1e-4, 0.4213), (1e-5, 0.4673), (1e-6, 0.5215)];
        CalibrationTable::new("t", rows.map(|(fmr, score)| CalibrationPoint { fmr, score }).to_vec()).unwrap()
    }

    #[test]
    fn rows_are_hit_exactly_and_outside_is_marked() {
        let t = table();
        assert!((t.score_at(1e-4).0 - 0.4213).abs() < 1e-12);
        assert!(!t.score_at(1e-4).1 && !t.score_at(1e-6).1 && !t.score_at(1e-2).1);
        assert!(t.score_at(1e-7).1 && t.score_at(0.5).1);
        assert!((t.score_at(1e-7).0 - 0.5757).abs() < 1e-9, "the last slope goes on");
    }

    #[test]
    fn a_larger_gallery_needs_a_higher_score_for_the_same_fpir() {
        let t = table();
        let at = |n| t.resolve(ThresholdSpec::fpir(0.003), n).unwrap().score;
        assert!(at(1) < at(100) && at(100) < at(10_000));
        // One template: an identification is a verification.
        assert!((at(1) - t.score_at(0.003).0).abs() < 1e-12);
        // 3,000 templates at FPIR 0.3 %: about one false match in a million comparisons.
        assert!((at(3_000) - 0.5215).abs() < 1e-3);
    }

    #[test]
    fn fpir_formula_matches_the_published_example() {
        // FMR 1e-6: 1 % at 10 k, 9.5 % at 100 k, 63 % at 1 M.
        for (n, fpir) in [(10_000, 0.00995), (100_000, 0.09516), (1_000_000, 0.63212)] {
            assert!((fmr_for_fpir(fpir, n) / 1e-6 - 1.0).abs() < 1e-3, "{n}");
        }
    }

    #[test]
    fn exactly_one_target_in_its_range() {
        let none = ThresholdSpec { target_fpir: None, target_fmr: None, score: None };
        let two = ThresholdSpec { score: Some(0.3), ..ThresholdSpec::fmr(0.1) };
        for bad in [none, two, ThresholdSpec::fmr(0.0), ThresholdSpec::fpir(1.0), ThresholdSpec::fmr(f64::NAN)] {
            assert!(bad.target().is_err(), "{bad:?}");
        }
        assert!(ThresholdSpec { score: Some(1.5), ..none }.target().is_err());
    }

    #[test]
    fn bad_tables_are_refused() {
        let p = |fmr, score| CalibrationPoint { fmr, score };
        for bad in [vec![], vec![p(0.1, 0.2)], vec![p(0.1, 0.2), p(0.01, 0.1)], vec![p(0.1, 0.2), p(0.1, 0.3)]] {
            assert!(CalibrationTable::new("x", bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn score_and_rate_are_inverse(log in -9.0f64..-0.5) {
            let (score, _) = table().score_at(10f64.powf(log));
            prop_assume!(score < 1.0);
            prop_assert!((table().fmr_at(score).log10() - log).abs() < 1e-6);
        }
    }
}
