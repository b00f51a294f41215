//! YuNet 2023mar (libfacedetection's anchor-free head, as OpenCV's FaceDetectorYN reads it). Input: BGR 0..255.
//! Its first point is the person's right eye, which is the left one in the picture: our order already.

use domain::BoundingBox;

use super::{DetectError, Detection, Grid, OutputView, landmarks};

/// Adds the candidates of one stride that reach the threshold. Per cell (column c, row r) of stride s:
/// score √(cls·obj), centre ((c+b₀)·s, (r+b₁)·s), size (e^b₂·s, e^b₃·s), points ((k+c)·s, (k+r)·s).
pub(super) fn decode(
    outputs: &[OutputView<'_>],
    grid: &Grid,
    threshold: f32,
    found: &mut Vec<Detection>,
) -> Result<(), DetectError> {
    let part = |kind: &str, values: usize| {
        let name = format!("{kind}_{}", grid.stride);
        let output = outputs.iter().find(|o| o.name == name).ok_or(DetectError::Missing(name))?;
        grid.part(output, 1, values)
    };
    let (classes, objects) = (part("cls", 1)?, part("obj", 1)?);
    let (boxes, points) = (part("bbox", 4)?, part("kps", 10)?);
    let stride = grid.stride as f32;
    for (index, (class, object)) in classes.iter().zip(objects).enumerate() {
        let score = (class.clamp(0.0, 1.0) * object.clamp(0.0, 1.0)).sqrt();
        // Also false for a score that is not a number.
        if score >= threshold {
            let (column, row) = grid.cell(index);
            let b = &boxes[index * 4..index * 4 + 4];
            let (width, height) = (b[2].exp() * stride, b[3].exp() * stride);
            let (x, y) = ((column + b[0]) * stride - width / 2.0, (row + b[1]) * stride - height / 2.0);
            let place = |dx: f32, dy: f32| [(dx + column) * stride, (dy + row) * stride];
            found.push(Detection {
                bounding_box: BoundingBox { x, y, width, height },
                landmarks: landmarks(&points[index * 10..index * 10 + 10], place),
                score,
            });
        }
    }
    Ok(())
}
