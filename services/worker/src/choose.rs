//! Which face counts where exactly one is needed. Faces come most prominent first (large and central).

use domain::{ErrorCode, Problem};
use wire::v1::FaceSelection;

use crate::stages::align::AlignedFace;

/// A second face with at least this share of the chosen one's box area makes the choice doubtful.
const RIVAL_SHARE: f32 = 0.5;

/// Faces that the choice needs to see, as a pipeline's `max_faces`: the first alone, or all (0).
#[must_use]
pub const fn faces_needed(selection: FaceSelection) -> usize {
    match selection {
        FaceSelection::Largest => 1,
        FaceSelection::Only | FaceSelection::Dominant => 0,
    }
}

/// The one face meant.
///
/// # Errors
/// `no_face`; `multiple_faces` under [`FaceSelection::Only`] when there is a second, and under
/// [`FaceSelection::Dominant`] when there is another of at least half its size.
pub fn choose(faces: &[AlignedFace], selection: FaceSelection) -> Result<&AlignedFace, Problem> {
    let Some((first, others)) = faces.split_first() else {
        return Err(Problem::new(ErrorCode::NoFace, "no face was found in the image; use a sharp, well-lit portrait"));
    };
    let area = first.face.bounding_box.area();
    let rivals = match selection {
        FaceSelection::Largest => 0,
        FaceSelection::Only => others.len(),
        FaceSelection::Dominant => others.iter().filter(|f| f.face.bounding_box.area() >= RIVAL_SHARE * area).count(),
    };
    if rivals == 0 {
        return Ok(first);
    }
    let detail = format!(
        "{} faces were found and it is not clear which one is meant; crop the image to one person, \
         or set face_selection to \"largest\"",
        faces.len()
    );
    Err(Problem::new(ErrorCode::MultipleFaces, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{BoundingBox, Face, Landmarks, Pose, Quality, QualityComponents, QualityLevel};

    fn face(side: f32) -> AlignedFace {
        let bounding_box = BoundingBox { x: 0.0, y: 0.0, width: side, height: side };
        let quality = Quality {
            score: 50.0,
            level: QualityLevel::Medium,
            components: QualityComponents::default(),
            reasons: vec![],
        };
        let face = Face {
            bounding_box,
            landmarks: Landmarks::default(),
            detection_score: 0.9,
            pose: Pose::default(),
            quality,
        };
        AlignedFace { face, crop: vision::Rgb8::filled(1, 1, [0; 3]), wide: None }
    }

    #[test]
    fn a_bystander_does_not_matter_but_a_rival_does() {
        let code = |faces: &[AlignedFace], s| choose(faces, s).map(|f| f.face.bounding_box.width).map_err(|p| p.code);
        let bystander = [face(100.0), face(50.0)];
        let rival = [face(100.0), face(80.0)];
        assert_eq!(code(&bystander, FaceSelection::Dominant), Ok(100.0));
        assert_eq!(code(&bystander, FaceSelection::Only), Err(ErrorCode::MultipleFaces));
        assert_eq!(code(&rival, FaceSelection::Dominant), Err(ErrorCode::MultipleFaces));
        assert_eq!(code(&rival, FaceSelection::Largest), Ok(100.0));
        assert_eq!(code(&[], FaceSelection::Largest), Err(ErrorCode::NoFace));
    }
}
