//! Align: each face of a picture to the 112×112 crop its embedder was trained on, with pose and quality read off on
//! the way. Called by the pipeline.

use domain::Face;
use vision::{Alignment, Detection, Rgb8};

/// A face of a picture, ready to be embedded.
#[derive(Clone, Debug)]
pub struct AlignedFace {
    /// Box, landmarks, pose and quality.
    pub face: Face,
    /// The crop.
    pub crop: Rgb8,
    /// The crop with what lies around it, where that was asked for.
    pub wide: Option<Rgb8>,
}

/// Whether the faces of a picture are cut out with what lies around them as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As the embedder sees them.
    Close,
    /// Also with margin, to be retained.
    AlsoWide,
}

/// Aligns every face, on this thread; one whose landmarks no face could have is left out.
#[must_use]
pub fn align(image: &Rgb8, found: &[Detection], alignment: Alignment, cut: Cut) -> Vec<AlignedFace> {
    let aligned = found.iter().filter_map(|d| {
        let crop = vision::align(image, &d.landmarks, alignment).ok()?;
        let face = vision::describe(image, d, &crop);
        let wide = match cut {
            Cut::Close => None,
            Cut::AlsoWide => Some(vision::align_with_margin(image, &d.landmarks, alignment).ok()?),
        };
        Some(AlignedFace { face, crop, wide })
    });
    aligned.collect()
}
