//! Raw outputs of a face detector to faces. Called by the worker's detect stage and by the evaluator; which head
//! reads them is named in the model's manifest.

mod scrfd;
mod yunet;

use std::str::FromStr;

use domain::{BoundingBox, ErrorCode, Landmarks};

use crate::nms::suppress;

/// One face: box, five points and the detector's confidence (0 to 1). In canvas pixels as a head gives it, in
/// picture pixels after [`crate::Letterbox::to_image`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Where the face is; may reach past the edges.
    pub bounding_box: BoundingBox,
    /// Five points.
    pub landmarks: Landmarks,
    /// Confidence, 0 to 1.
    pub score: f32,
}

impl Detection {
    /// Whether every number is finite and the box has an area. Anything else is noise of a damaged model or input.
    fn is_sane(&self) -> bool {
        let b = self.bounding_box;
        let numbers = [b.x, b.y, b.width, b.height, self.score];
        numbers.iter().chain(self.landmarks.0.iter().flatten()).all(|v| v.is_finite())
            && b.width > 0.0
            && b.height > 0.0
    }
}

/// A named output tensor as the engine gives it.
#[derive(Clone, Copy, Debug)]
pub struct OutputView<'a> {
    /// The graph's name for it.
    pub name: &'a str,
    /// Its shape, batch first where the graph has a batch dimension.
    pub shape: &'a [usize],
    /// Its values in row-major order.
    pub data: &'a [f32],
}

/// Which image of a batch is meant: `index` of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem {
    /// Position, from zero.
    pub index: usize,
    /// Images in the batch.
    pub of: usize,
}

impl BatchItem {
    /// The only image of a batch of one.
    pub const SINGLE: Self = Self { index: 0, of: 1 };
}

/// What counts as a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DetectorParams {
    /// Least confidence.
    pub score_threshold: f32,
    /// Boxes that overlap a stronger one by more than this (intersection over union) are dropped.
    pub iou_threshold: f32,
    /// Candidates, strongest first, that enter suppression: bounds the work on a hostile picture.
    pub max_candidates: usize,
    /// Faces given back at most, strongest first.
    pub max_faces: usize,
}

/// How a family of detectors writes its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DetectorHead {
    /// YuNet 2023mar: `cls_s`, `obj_s`, `bbox_s`, `kps_s` for strides 8, 16, 32; one anchor a cell.
    Yunet,
    /// SCRFD with key points: scores, boxes, points for strides 8, 16, 32; two anchors a cell.
    Scrfd,
}

impl FromStr for DetectorHead {
    type Err = DetectError;

    /// The name in a manifest: `yunet` or `scrfd`.
    fn from_str(name: &str) -> Result<Self, DetectError> {
        match name {
            "yunet" => Ok(Self::Yunet),
            "scrfd" => Ok(Self::Scrfd),
            _ => Err(DetectError::UnknownHead(name.to_owned())),
        }
    }
}

impl DetectorHead {
    /// The name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yunet => "yunet",
            Self::Scrfd => "scrfd",
        }
    }

    /// The family's own thresholds (YuNet 0.7 and 0.3, SCRFD 0.5 and 0.4), 5,000 candidates, 1,000 faces.
    #[must_use]
    pub const fn default_params(self) -> DetectorParams {
        let (score_threshold, iou_threshold) = match self {
            Self::Yunet => (0.7, 0.3),
            Self::Scrfd => (0.5, 0.4),
        };
        DetectorParams { score_threshold, iou_threshold, max_candidates: 5000, max_faces: 1000 }
    }

    /// The faces of one image of a batch, strongest first, in canvas pixels. `canvas` is (width, height), each a
    /// multiple of 32. Candidates with a number that is not finite are left out.
    ///
    /// # Errors
    /// [`DetectError`] where outputs are missing or do not fit the canvas and the batch: the model is not what its
    /// manifest says.
    pub fn decode(
        self,
        outputs: &[OutputView<'_>],
        canvas: (u32, u32),
        item: BatchItem,
        params: &DetectorParams,
    ) -> Result<Vec<Detection>, DetectError> {
        if canvas.0 == 0 || canvas.1 == 0 || !canvas.0.is_multiple_of(32) || !canvas.1.is_multiple_of(32) {
            return Err(DetectError::Canvas { width: canvas.0, height: canvas.1 });
        }
        let mut found = Vec::new();
        for stride in STRIDES {
            let grid = Grid { columns: canvas.0 as usize / stride, rows: canvas.1 as usize / stride, stride, item };
            match self {
                Self::Yunet => yunet::decode(outputs, &grid, params.score_threshold, &mut found)?,
                Self::Scrfd => scrfd::decode(outputs, &grid, params.score_threshold, &mut found)?,
            }
        }
        found.retain(Detection::is_sane);
        Ok(suppress(found, params))
    }
}

const STRIDES: [usize; 3] = [8, 16, 32];

/// The cells of one stride.
struct Grid {
    columns: usize,
    rows: usize,
    stride: usize,
    item: BatchItem,
}

impl Grid {
    /// This image's part of an output: `anchors` rows of `values` numbers a cell.
    fn part<'a>(&self, output: &OutputView<'a>, anchors: usize, values: usize) -> Result<&'a [f32], DetectError> {
        let length = self.columns * self.rows * anchors * values;
        let wrong = || DetectError::Shape {
            name: output.name.to_owned(),
            expected: length.saturating_mul(self.item.of),
            actual: output.data.len(),
        };
        if length.checked_mul(self.item.of) != Some(output.data.len()) {
            return Err(wrong());
        }
        output.data.chunks_exact(length).nth(self.item.index).ok_or_else(wrong)
    }

    /// Column and row of a cell.
    fn cell(&self, index: usize) -> (f32, f32) {
        ((index % self.columns) as f32, (index / self.columns) as f32)
    }
}

/// A model whose outputs are not what its head reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// No such family.
    #[error("unknown detector head `{0}`; use `yunet` or `scrfd`")]
    UnknownHead(String),
    /// The canvas does not fit the strides.
    #[error("a detector canvas of {width}x{height} is not a multiple of 32")]
    Canvas {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// An output the head needs.
    #[error("the detector has no output {0}")]
    Missing(String),
    /// An output of another length than canvas and batch ask for.
    #[error("the detector's output {name} has {actual} values, {expected} are expected")]
    Shape {
        /// The output.
        name: String,
        /// Values expected for the whole batch.
        expected: usize,
        /// Values there.
        actual: usize,
    },
}

impl DetectError {
    /// The code a caller sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InferenceFailed
    }
}

/// Points of one candidate from ten numbers, by `place(dx, dy)`.
fn landmarks(values: &[f32], place: impl Fn(f32, f32) -> [f32; 2]) -> Landmarks {
    let mut points = [[0.0; 2]; 5];
    for (point, pair) in points.iter_mut().zip(values.chunks_exact(2)) {
        *point = place(pair[0], pair[1]);
    }
    Landmarks(points)
}

#[cfg(test)]
mod tests;
