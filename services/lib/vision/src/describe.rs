//! One detection to the face that a caller sees. Called by the worker once alignment is done.

use domain::Face;

use crate::{Detection, Rgb8, assess, estimate_pose};

/// Box, points, pose and quality of one face. `found` is in pixels of `image`; `aligned` is its crop from
/// [`crate::align`].
#[must_use]
pub fn describe(image: &Rgb8, found: &Detection, aligned: &Rgb8) -> Face {
    let pose = estimate_pose(&found.landmarks);
    Face {
        bounding_box: found.bounding_box,
        landmarks: found.landmarks,
        detection_score: found.score,
        pose,
        quality: assess((image.width(), image.height()), found, &pose, aligned),
    }
}
