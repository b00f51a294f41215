//! Alignment: five points to a fixed place in a small picture, the embedder's input. Called by the align stage, the
//! evaluator and the trainer.

mod margin;
mod warp;

use std::str::FromStr;

use domain::{ErrorCode, Landmarks};

use crate::Rgb8;

pub use margin::{MARGIN, align_with_margin, without_margin};
pub(crate) use warp::warp;

/// Where the five points lie in the aligned picture. Its name is part of the embedding contract: templates of two
/// alignments are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alignment {
    /// 112×112, the points of ArcFace (Deng et al. 2019), used by SFace and all InsightFace embedders.
    Arcface112,
}

impl Alignment {
    /// The name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arcface112 => "arcface_112",
        }
    }

    /// Side of the aligned picture in pixels.
    #[must_use]
    pub const fn side(self) -> u32 {
        match self {
            Self::Arcface112 => 112,
        }
    }

    /// The points, in the order of [`Landmarks`].
    #[must_use]
    pub const fn points(self) -> [[f32; 2]; 5] {
        match self {
            Self::Arcface112 => {
                [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
            }
        }
    }
}

impl FromStr for Alignment {
    type Err = AlignError;

    /// The name in a manifest: `arcface_112`.
    fn from_str(name: &str) -> Result<Self, AlignError> {
        match name {
            "arcface_112" => Ok(Self::Arcface112),
            _ => Err(AlignError::Unknown(name.to_owned())),
        }
    }
}

/// Turn, scale and shift, never a reflection: (x, y) → (a·x − b·y + tx, b·x + a·y + ty).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Scale × cosine of the turn.
    pub a: f64,
    /// Scale × sine of the turn.
    pub b: f64,
    /// Shift along x.
    pub tx: f64,
    /// Shift along y.
    pub ty: f64,
}

impl Similarity {
    /// The least-squares similarity that takes `from` to `to` (Umeyama 1991; in two dimensions it has a closed form
    /// over complex numbers, without a singular value decomposition).
    ///
    /// # Errors
    /// [`AlignError::Degenerate`] where the points fall together, are not finite, or lie so that no turn fits
    /// better than another.
    pub fn estimate(from: &[[f32; 2]; 5], to: &[[f32; 2]; 5]) -> Result<Self, AlignError> {
        let (centre_from, centre_to) = (mean(from), mean(to));
        let (mut re, mut im, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(to) {
            let (px, py) = (f64::from(p[0]) - centre_from[0], f64::from(p[1]) - centre_from[1]);
            let (qx, qy) = (f64::from(q[0]) - centre_to[0], f64::from(q[1]) - centre_to[1]);
            re += px * qx + py * qy;
            im += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (re / spread, im / spread);
        // A face a millionth of its aligned size, or a millionfold of it, is not one either.
        let scale = a.hypot(b);
        if !spread.is_finite() || spread < 1e-6 || !scale.is_finite() || !(1e-6..=1e6).contains(&scale) {
            return Err(AlignError::Degenerate);
        }
        let [fx, fy] = centre_from;
        Ok(Self { a, b, tx: centre_to[0] - (a * fx - b * fy), ty: centre_to[1] - (b * fx + a * fy) })
    }

    /// Where a point goes.
    #[must_use]
    pub fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty]
    }

    /// The way back.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let squared = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / squared, -self.b / squared);
        Self { a, b, tx: -(a * self.tx - b * self.ty), ty: -(b * self.tx + a * self.ty) }
    }
}

fn mean(points: &[[f32; 2]; 5]) -> [f64; 2] {
    let sum = |axis: usize| points.iter().map(|p| f64::from(p[axis])).sum::<f64>();
    [sum(0) / 5.0, sum(1) / 5.0]
}

/// The aligned picture: bilinear, black where it reaches past the source (OpenCV's `warpAffine`).
///
/// # Errors
/// [`AlignError::Degenerate`] for points that no face has.
pub fn align(image: &Rgb8, landmarks: &Landmarks, alignment: Alignment) -> Result<Rgb8, AlignError> {
    let to_aligned = Similarity::estimate(&landmarks.0, &alignment.points())?;
    Ok(warp(image, &to_aligned.inverse(), alignment.side(), 0))
}

/// Why a face could not be aligned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlignError {
    /// The points are not those of a face.
    #[error("the face's landmarks fall together or are not finite, so it cannot be aligned")]
    Degenerate,
    /// No alignment of this name.
    #[error("unknown alignment `{0}`; use `arcface_112`")]
    Unknown(String),
}

impl AlignError {
    /// The code a caller sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Degenerate => ErrorCode::NoFace,
            Self::Unknown(_) => ErrorCode::Internal,
        }
    }
}

#[cfg(test)]
mod tests;
