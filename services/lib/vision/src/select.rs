//! Which face is meant where a picture holds several: large and central. Called by the stages that need one face.

use crate::Detection;

/// How much a face stands out in a `width × height` picture: box area minus twice the squared distance of the box's
/// centre from the picture's, in square pixels (InsightFace's rule). Higher = more prominent.
#[must_use]
pub fn prominence(face: &Detection, width: u32, height: u32) -> f32 {
    let [x, y] = face.bounding_box.centre();
    let (dx, dy) = (x - width as f32 / 2.0, y - height as f32 / 2.0);
    face.bounding_box.area() - 2.0 * (dx * dx + dy * dy)
}

/// Sorts the most prominent face first. Equal ones keep their order.
pub fn sort_by_prominence(faces: &mut [Detection], width: u32, height: u32) {
    faces.sort_by(|a, b| prominence(b, width, height).total_cmp(&prominence(a, width, height)));
}

/// Index of the most prominent face, the first of equals; `None` without faces.
#[must_use]
pub fn primary(faces: &[Detection], width: u32, height: u32) -> Option<usize> {
    let value = |i: &usize| prominence(&faces[*i], width, height);
    (0..faces.len()).rev().max_by(|a, b| value(a).total_cmp(&value(b)))
}

#[cfg(test)]
mod tests {
    use domain::{BoundingBox, Landmarks};

    use super::*;

    fn face(x: f32, y: f32, side: f32) -> Detection {
        let bounding_box = BoundingBox { x, y, width: side, height: side };
        Detection { bounding_box, landmarks: Landmarks::default(), score: 0.9 }
    }

    #[test]
    fn a_central_face_beats_a_somewhat_larger_one_at_the_edge() {
        let mut faces = vec![face(0.0, 0.0, 60.0), face(75.0, 75.0, 50.0), face(75.0, 75.0, 50.0)];
        assert_eq!(primary(&faces, 200, 200), Some(1));
        sort_by_prominence(&mut faces, 200, 200);
        assert_eq!(faces[2], face(0.0, 0.0, 60.0));
        assert_eq!(primary(&faces, 200, 200), Some(0));
        assert_eq!(primary(&[], 200, 200), None);
        let value = prominence(&face(0.0, 0.0, 60.0), 200, 200);
        assert_eq!(value, 3600.0 - 2.0 * (70.0 * 70.0 * 2.0));
    }
}
