//! SCRFD with key points (InsightFace). Input: RGB, (x − 127.5) / 128. Distances are in strides from the cell's
//! corner. Packs name their outputs differently or by numbers alone, so outputs are told apart by their shape.

use domain::BoundingBox;

use super::{DetectError, Detection, Grid, OutputView, landmarks};

const ANCHORS: usize = 2;

/// Adds the candidates of one stride that reach the threshold.
pub(super) fn decode(
    outputs: &[OutputView<'_>],
    grid: &Grid,
    threshold: f32,
    found: &mut Vec<Detection>,
) -> Result<(), DetectError> {
    let rows = grid.columns * grid.rows * ANCHORS;
    let part = |what: &str, values: usize| {
        // [rows, values], [batch, rows, values] or, from older exports, [batch × rows, values].
        let fits =
            |o: &&OutputView<'_>| o.shape.last() == Some(&values) && o.data.len() == rows * values * grid.item.of;
        let name = || format!("of SCRFD {what} for stride {} ({rows} x {values})", grid.stride);
        let output = outputs.iter().find(fits).ok_or_else(|| DetectError::Missing(name()))?;
        grid.part(output, ANCHORS, values)
    };
    let (scores, boxes, points) = (part("scores", 1)?, part("boxes", 4)?, part("key points", 10)?);
    let stride = grid.stride as f32;
    for (index, &score) in scores.iter().enumerate() {
        // Also false for a score that is not a number.
        if score >= threshold {
            let (column, row) = grid.cell(index / ANCHORS);
            let (cx, cy) = (column * stride, row * stride);
            let b = &boxes[index * 4..index * 4 + 4];
            let (x, y) = (cx - b[0] * stride, cy - b[1] * stride);
            let (width, height) = (cx + b[2] * stride - x, cy + b[3] * stride - y);
            let place = |dx: f32, dy: f32| [cx + dx * stride, cy + dy * stride];
            found.push(Detection {
                bounding_box: BoundingBox { x, y, width, height },
                landmarks: landmarks(&points[index * 10..index * 10 + 10], place),
                score: score.min(1.0),
            });
        }
    }
    Ok(())
}
