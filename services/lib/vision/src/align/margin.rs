//! The aligned face with what lies around it, from which a trainer samples it turned, scaled and shifted. Called by the
//! align stage for collections that retain crops.

use domain::Landmarks;

use super::{AlignError, Alignment, Similarity, warp::warp};
use crate::Rgb8;

/// Pixels around the aligned picture, on every side, at its scale.
///
/// Enough for a turn by ±15°, a scale of 0.9 to 1.1 and a shift by ±10 % of the side, all at once, without reaching past
/// the border. Pixels of a sample lie within 55.5 of its centre (111 / 2), after a shift by 11.2 of its pixels within
/// 66.7. Turned by 15° that is 66.7 × (cos 15° + sin 15°) = 81.7, and at scale 0.9, which shows the most, 81.7 / 0.9 =
/// 90.8. Of these 55.5 lie inside the aligned picture; that leaves 35.3, and interpolation reads the next whole pixel: 36,
/// so that a crop has 184 × 184.
pub const MARGIN: u32 = 36;

/// As [`super::align`], with [`MARGIN`] more on every side. Inside the margin it is the same to the last bit.
///
/// # Errors
/// [`AlignError::Degenerate`] for points that no face has.
pub fn align_with_margin(image: &Rgb8, landmarks: &Landmarks, alignment: Alignment) -> Result<Rgb8, AlignError> {
    let to_aligned = Similarity::estimate(&landmarks.0, &alignment.points())?;
    Ok(warp(image, &to_aligned.inverse(), alignment.side(), MARGIN))
}

/// The aligned picture out of one with margin, as the embedder sees it; nothing for a picture of another size.
#[must_use]
pub fn without_margin(crop: &Rgb8, alignment: Alignment) -> Option<Rgb8> {
    let (side, whole) = (alignment.side(), alignment.side() + 2 * MARGIN);
    if (crop.width(), crop.height()) != (whole, whole) {
        return None;
    }
    let (from, width) = (MARGIN as usize * 3, side as usize * 3);
    let rows = (MARGIN..MARGIN + side).flat_map(|y| &crop.row(y)[from..from + width]);
    Rgb8::new(side, side, rows.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::align;

    /// A picture without two equal neighbours.
    fn noise(width: u32, height: u32) -> Rgb8 {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        Rgb8::new(width, height, (0..width * height * 3).map(|_| next()).collect()).unwrap()
    }

    #[test]
    fn inside_the_margin_is_what_the_embedder_sees_to_the_last_bit() {
        let (picture, alignment) = (noise(300, 260), Alignment::Arcface112);
        for (turn, scale) in [(0.0f64, 1.0f64), (0.3, 1.7), (-0.8, 0.6), (2.9, 1.1)] {
            let place = Similarity { a: scale * turn.cos(), b: scale * turn.sin(), tx: 140.0, ty: 90.0 };
            let points = alignment.points().map(|[x, y]| place.apply([x.into(), y.into()]).map(|v| v as f32));
            let landmarks = Landmarks(points);
            let kept = align_with_margin(&picture, &landmarks, alignment).unwrap();
            assert_eq!((kept.width(), kept.height()), (184, 184));
            let served = align(&picture, &landmarks, alignment).unwrap();
            assert_eq!(without_margin(&kept, alignment), Some(served));
        }
        assert_eq!(without_margin(&noise(112, 112), alignment), None);
    }

    #[test]
    fn every_sample_of_the_augmentation_lies_within() {
        let (centre, lowest, highest) = (55.5f64, -f64::from(MARGIN), 111.0 + f64::from(MARGIN));
        let corners = [[0.0, 0.0], [111.0, 0.0], [0.0, 111.0], [111.0, 111.0]];
        let mut least = f64::MAX;
        for turn in [-15.0f64, 0.0, 15.0] {
            for scale in [0.9f64, 1.1] {
                for (dx, dy) in [(-11.2, -11.2), (-11.2, 11.2), (11.2, -11.2), (11.2, 11.2)] {
                    let (sin, cos) = (turn.to_radians().sin() / scale, turn.to_radians().cos() / scale);
                    for [x, y] in corners.map(|[x, y]| [x - centre + dx, y - centre + dy]) {
                        // Turned and scaled after the shift, so that a shift is told in pixels of the sample.
                        for at in [cos * x - sin * y + centre, sin * x + cos * y + centre] {
                            least = least.min(at - lowest).min(highest - at);
                        }
                    }
                }
            }
        }
        assert!((0.0..1.0).contains(&least), "no pixel too few and none too many: {least} are left");
    }
}
