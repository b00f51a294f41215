//! Align: each face of a picture to the 112×112 crop its embedder was trained on, with pose and quality read off on
//! the way. Called by the pipeline; the picture's pixels are given back when it is done.

use domain::{Face, Problem};
use vision::{Alignment, Detection, Rgb8};

use super::decode::Picture;
use crate::cpu::CpuPool;

/// A face of a picture, ready to be embedded.
#[derive(Clone, Debug)]
pub struct AlignedFace {
    /// Box, landmarks, pose and quality.
    pub face: Face,
    /// The crop.
    pub crop: Rgb8,
}

/// Aligns every face; one whose landmarks no face could have is left out.
///
/// # Errors
/// `internal` when the work panicked.
pub async fn align(
    cpu: &CpuPool,
    picture: Picture,
    found: Vec<Detection>,
    alignment: Alignment,
) -> Result<Vec<AlignedFace>, Problem> {
    if found.is_empty() {
        return Ok(Vec::new());
    }
    cpu.run(move || {
        let image = &picture.pixels;
        let aligned = found.iter().filter_map(|d| {
            let crop = vision::align(image, &d.landmarks, alignment).ok()?;
            let face = vision::describe(image, d, &crop);
            Some(AlignedFace { face, crop })
        });
        aligned.collect()
    })
    .await
}
