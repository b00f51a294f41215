//! A detected face: where it is, how it is turned and how usable it is. Coordinates are pixels of the upright
//! image (EXIF orientation applied), origin at the top left, x to the right, y down.

use serde::{Deserialize, Serialize};

/// Axis-aligned box in pixels. May reach past the image's edges where the face does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BoundingBox {
    /// Area in square pixels; zero for a degenerate box.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// Centre point.
    #[must_use]
    pub fn centre(&self) -> [f32; 2] {
        [self.x + self.width / 2.0, self.y + self.height / 2.0]
    }

    /// Intersection over union, 0 where either box is degenerate.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f32 {
        let w = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let h = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let inter = w.max(0.0) * h.max(0.0);
        let union = self.area() + other.area() - inter;
        if union > 0.0 { inter / union } else { 0.0 }
    }
}

/// Five points in the order of the ArcFace alignment template, named by their side **of the picture**:
/// left eye, right eye, nose tip, left mouth corner, right mouth corner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Landmarks(pub [[f32; 2]; 5]);

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::{ArrayBuilder, RefOr, Schema};

    impl utoipa::PartialSchema for super::Landmarks {
        fn schema() -> RefOr<Schema> {
            ArrayBuilder::new()
                .items(ArrayBuilder::new().items(f32::schema()).min_items(Some(2)).max_items(Some(2)))
                .min_items(Some(5))
                .max_items(Some(5))
                .description(Some("Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture"))
                .into()
        }
    }
    impl utoipa::ToSchema for super::Landmarks {}
}

/// Head pose in degrees, estimated from the five landmarks; zero is frontal and upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pose {
    /// Turned to the picture's right: positive.
    pub yaw: f32,
    /// Looking up: positive.
    pub pitch: f32,
    /// Head tilted clockwise in the picture: positive.
    pub roll: f32,
}

/// How usable a face is for recognition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QualityLevel {
    /// Expect misses.
    Low,
    /// Usable.
    Medium,
    /// Fit for enrolment.
    High,
}

/// What the score is made of; every component 0 (worst) to 100 (best) unless a unit is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QualityComponents {
    /// Focus, from the Laplacian's variance on the aligned crop.
    pub sharpness: f32,
    /// Exposure: neither dark, burnt out nor flat.
    pub illumination: f32,
    /// Left and right half of the face lit alike.
    pub symmetry: f32,
    /// How frontal the pose is.
    pub frontality: f32,
    /// How much of the face lies inside the picture.
    pub completeness: f32,
    /// The detector's own confidence.
    pub detection: f32,
    /// Distance between the eye centres in pixels.
    pub inter_eye_distance: f32,
}

/// Quality of one face sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Quality {
    /// 0 (useless) to 100 (ideal).
    pub score: f32,
    /// The score in three steps.
    pub level: QualityLevel,
    /// Parts of the score.
    pub components: QualityComponents,
    /// What a person could do better next time, such as `too_small`, `blurred`, `too_dark`, `turned_away`.
    pub reasons: Vec<String>,
}

/// One face found in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Face {
    /// Where the face is.
    #[serde(rename = "box")]
    pub bounding_box: BoundingBox,
    /// Five points.
    pub landmarks: Landmarks,
    /// The detector's confidence, 0 to 1.
    pub detection_score: f32,
    /// Estimated head pose.
    pub pose: Pose,
    /// How usable the face is.
    pub quality: Quality,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_equal_half_and_disjoint_boxes() {
        let a = BoundingBox { x: 0.0, y: 0.0, width: 2.0, height: 2.0 };
        let half = BoundingBox { x: 1.0, ..a };
        let far = BoundingBox { x: 9.0, ..a };
        assert_eq!(a.iou(&a), 1.0);
        assert!((a.iou(&half) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&far), 0.0);
        assert_eq!(BoundingBox::default().iou(&BoundingBox::default()), 0.0);
    }
}
