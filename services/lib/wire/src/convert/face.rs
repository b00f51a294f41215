//! Faces, quality and problems.

use domain::{
    BoundingBox, ErrorCode, Face, FieldError, Landmarks, Pose, Problem, Quality, QualityComponents, QualityLevel,
};

use super::present;
use crate::{WireError, v1};

impl From<&Face> for v1::Face {
    fn from(f: &Face) -> Self {
        let b = f.bounding_box;
        Self {
            r#box: Some(v1::BoundingBox { x: b.x, y: b.y, width: b.width, height: b.height }),
            landmarks: f.landmarks.0.iter().flatten().copied().collect(),
            detection_score: f.detection_score,
            yaw: f.pose.yaw,
            pitch: f.pose.pitch,
            roll: f.pose.roll,
            quality: Some((&f.quality).into()),
        }
    }
}

impl TryFrom<v1::Face> for Face {
    type Error = WireError;
    fn try_from(f: v1::Face) -> Result<Self, WireError> {
        let b = present(f.r#box, "face.box")?;
        let (points, []) = f.landmarks.as_chunks::<2>() else {
            return Err(WireError::Field { field: "face.landmarks" });
        };
        Ok(Self {
            bounding_box: BoundingBox { x: b.x, y: b.y, width: b.width, height: b.height },
            landmarks: Landmarks(points.try_into().map_err(|_| WireError::Field { field: "face.landmarks" })?),
            detection_score: f.detection_score,
            pose: Pose { yaw: f.yaw, pitch: f.pitch, roll: f.roll },
            quality: present(f.quality, "face.quality")?.into(),
        })
    }
}

impl From<&Quality> for v1::Quality {
    fn from(q: &Quality) -> Self {
        let c = &q.components;
        Self {
            score: q.score,
            level: match q.level {
                QualityLevel::Low => v1::quality::Level::Low,
                QualityLevel::Medium => v1::quality::Level::Medium,
                QualityLevel::High => v1::quality::Level::High,
            }
            .into(),
            sharpness: c.sharpness,
            illumination: c.illumination,
            symmetry: c.symmetry,
            frontality: c.frontality,
            completeness: c.completeness,
            detection: c.detection,
            inter_eye_distance: c.inter_eye_distance,
            reasons: q.reasons.clone(),
        }
    }
}

impl From<v1::Quality> for Quality {
    fn from(q: v1::Quality) -> Self {
        Self {
            score: q.score,
            level: match q.level() {
                v1::quality::Level::High => QualityLevel::High,
                v1::quality::Level::Medium => QualityLevel::Medium,
                // A level this version does not know is treated with the most care.
                v1::quality::Level::Low | v1::quality::Level::Unspecified => QualityLevel::Low,
            },
            components: QualityComponents {
                sharpness: q.sharpness,
                illumination: q.illumination,
                symmetry: q.symmetry,
                frontality: q.frontality,
                completeness: q.completeness,
                detection: q.detection,
                inter_eye_distance: q.inter_eye_distance,
            },
            reasons: q.reasons,
        }
    }
}

impl From<Problem> for v1::Problem {
    fn from(p: Problem) -> Self {
        let error = |e: FieldError| v1::FieldError { pointer: e.pointer, detail: e.detail };
        Self { code: p.code.slug().into(), detail: p.detail, errors: p.errors.into_iter().map(error).collect() }
    }
}

impl From<v1::Problem> for Problem {
    fn from(p: v1::Problem) -> Self {
        let error = |e: v1::FieldError| FieldError { pointer: e.pointer, detail: e.detail };
        Self {
            // A code of a newer version is still a failure.
            code: ErrorCode::from_slug(&p.code).unwrap_or(ErrorCode::Internal),
            detail: p.detail,
            errors: p.errors.into_iter().map(error).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face() -> Face {
        Face {
            bounding_box: BoundingBox { x: 1.0, y: -2.0, width: 3.0, height: 4.5 },
            landmarks: Landmarks([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0]]),
            detection_score: 0.9,
            pose: Pose { yaw: 1.0, pitch: 2.0, roll: 3.0 },
            quality: Quality {
                score: 80.0,
                level: QualityLevel::High,
                components: QualityComponents { sharpness: 7.0, inter_eye_distance: 44.0, ..Default::default() },
                reasons: vec!["blurred".into()],
            },
        }
    }

    #[test]
    fn a_face_comes_back_as_it_went() {
        assert_eq!(Face::try_from(v1::Face::from(&face())), Ok(face()));
    }

    #[test]
    fn a_face_with_four_points_is_refused() {
        let mut m = v1::Face::from(&face());
        m.landmarks.truncate(8);
        assert_eq!(Face::try_from(m), Err(WireError::Field { field: "face.landmarks" }));
    }

    #[test]
    fn problems_keep_code_detail_and_fields() {
        let p = Problem::invalid("/limit", "too large");
        assert_eq!(Problem::from(v1::Problem::from(p.clone())), p);
        let newer = v1::Problem { code: "no_such_code_yet".into(), ..Default::default() };
        assert_eq!(Problem::from(newer).code, ErrorCode::Internal);
    }
}
