//! Where the face lies: turned, scaled, shifted and mirrored. Called by `Drawn::apply`.

use super::Drawn;
use crate::{
    Alignment, Rgb8, Similarity,
    align::{warp, without_margin},
};

/// The middle 112×112 of a crop, seen as drawn; black where that reaches past the crop.
pub(super) fn placed(crop: &Rgb8, drawn: &Drawn) -> Rgb8 {
    let alignment = Alignment::Arcface112;
    let side = alignment.side();
    let moved = drawn.turn.is_some() || drawn.scale.is_some() || drawn.shift.is_some();
    let straight = match moved {
        true => None,
        false if (crop.width(), crop.height()) == (side, side) => Some(crop.clone()),
        false => without_margin(crop, alignment),
    };
    let mut picture = straight.unwrap_or_else(|| warp(crop, &to_crop(crop, drawn, f64::from(side)), side, 0));
    if drawn.mirrored {
        mirror(&mut picture);
    }
    picture
}

/// From a pixel of the sample to where it is in the crop. The shift is told in pixels of the sample, so it comes first.
fn to_crop(crop: &Rgb8, drawn: &Drawn, side: f64) -> Similarity {
    let scale = f64::from(drawn.scale.unwrap_or(1.0));
    let turn = f64::from(drawn.turn.unwrap_or(0.0)).to_radians();
    let [dx, dy] = drawn.shift.unwrap_or([0.0; 2]).map(|share| f64::from(share) * side);
    let (a, b) = (turn.cos() / scale, -turn.sin() / scale);
    let middle = (side - 1.0) / 2.0;
    let (x, y) = (middle + dx, middle + dy);
    let (centre_x, centre_y) = ((f64::from(crop.width()) - 1.0) / 2.0, (f64::from(crop.height()) - 1.0) / 2.0);
    Similarity { a, b, tx: centre_x - (a * x - b * y), ty: centre_y - (b * x + a * y) }
}

fn mirror(picture: &mut Rgb8) {
    let width = picture.width() as usize;
    for row in picture.data_mut().chunks_exact_mut(width * 3) {
        for x in 0..width / 2 {
            let (left, right) = (3 * x, 3 * (width - 1 - x));
            for c in 0..3 {
                row.swap(left + c, right + c);
            }
        }
    }
}
