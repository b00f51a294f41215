//! Two looks instead of one where a single face is wanted: a small canvas shows where the face is, and the part of the
//! first view's canvas around it shows it as the whole of that view would, at half the cost or less. Called by the
//! detect stage; `services/adr/0015` has the figures behind the constants.

use super::{Canvas, STEP, Views, round_up, whole};
use crate::letterbox::{Letterbox, Region};
use crate::{Detection, DetectorParams, prominence, sort_by_prominence};

/// The small canvas has this part of the largest one's side: faces of a fifth of a portrait keep 30 pixels.
const REDUCTION: u32 = 4;

/// Share of the detector's own threshold at which the small canvas's faces count as rivals: a doubtful one too.
const DOUBTFUL: f32 = 0.5;

/// Least side of a face on the small canvas, in its pixels. Smaller ones are missed at times, and so may their rivals.
const LEAST_SIDE: f32 = 20.0;

/// A rival whose prominence comes so near, in areas of the face, might be the one that is meant.
const RIVAL_WITHIN: f32 = 0.5;

/// Canvas pixels of the first view to all sides of the face's middle, rounded to whole steps: on so much depends what
/// the detector says of a face, however small that is. With less of it landmarks move.
const REACH: f32 = 224.0;

/// The same around the box, for a large face.
const MARGIN: f32 = 64.0;

/// Two looks are worth it up to this share of the first view's pixels.
const WORTH: f64 = 0.8;

/// Least overlap (intersection over union) of a face as the small canvas shows it with itself.
const SAME: f32 = 0.4;

/// A look at the surroundings of one face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Close {
    /// The part of the first view's canvas.
    pub view: Letterbox,
    face: Detection,
    size: (u32, u32),
}

impl Views {
    /// The small view of a `width × height` picture of which one face is wanted. `None` where it would not pay.
    #[must_use]
    pub fn scout(&self, width: u32, height: u32) -> Option<Letterbox> {
        let Canvas::Fitting { most, .. } = self.canvas else { return None };
        let (first, scout) = (self.first(width, height), whole(width, height, round_up(most / REDUCTION)));
        let side = |canvas: u32| canvas.min(2 * REACH as u32);
        let least =
            first.part(Region { x: 0, y: 0, width: side(first.canvas_width), height: side(first.canvas_height) });
        (self.scouts && pays(&first, &scout, &least)).then_some(scout)
    }

    /// What counts as a face in the small view.
    #[must_use]
    pub fn scouting(params: &DetectorParams) -> DetectorParams {
        DetectorParams { score_threshold: params.score_threshold * DOUBTFUL, ..*params }
    }

    /// Where to look next, by what the small view showed (in picture pixels). `None` where only the first view can
    /// tell: no face is sure (has this score), the one that stands out is small or hardly stands out, or its
    /// surroundings are most of the picture.
    #[must_use]
    pub fn close(&self, (width, height): (u32, u32), scouted: &[Detection], sure: f32) -> Option<Close> {
        let scout = self.scout(width, height)?;
        let mut faces = scouted.to_vec();
        sort_by_prominence(&mut faces, width, height);
        let (face, rivals) = faces.split_first()?;
        let b = face.bounding_box;
        if face.score < sure || b.width.min(b.height) * scout.scale < LEAST_SIDE {
            return None;
        }
        let near = prominence(face, width, height) - RIVAL_WITHIN * b.area();
        if rivals.iter().any(|rival| prominence(rival, width, height) > near) {
            return None;
        }
        let first = self.first(width, height);
        let view = first.part(around(&first, face)?);
        view.shown()?;
        pays(&first, &scout, &view).then_some(Close { view, face: *face, size: (width, height) })
    }
}

impl Close {
    /// The face that was meant, of those that the view showed (in picture pixels). `None` where it is not there, or
    /// another stands out more: then only the first view can tell.
    #[must_use]
    pub fn meant(&self, found: &[Detection]) -> Option<Detection> {
        let (width, height) = self.size;
        let best = found.get(crate::primary(found, width, height)?)?;
        (best.bounding_box.iou(&self.face.bounding_box) >= SAME).then_some(*best)
    }
}

/// The part of a view's canvas around a face, in whole steps, so that every cell of the detector lies where it lies on
/// the whole canvas.
fn around(view: &Letterbox, face: &Detection) -> Option<Region> {
    let b = face.bounding_box;
    let step = STEP as f32;
    let axis = |start: f32, length: f32, offset: i32, canvas: u32| {
        let middle = (start + length / 2.0) * view.scale + offset as f32;
        let reach = (length / 2.0 * view.scale + MARGIN).max(REACH);
        // Casts of numbers that are too small or too large give the nearest there is.
        let from = (((middle - reach) / step).round() * step) as u32;
        let to = ((((middle + reach) / step).round() * step) as u32).min(canvas);
        (from < to).then(|| (from, to - from))
    };
    let (x, width) = axis(b.x, b.width, view.left, view.canvas_width)?;
    let (y, height) = axis(b.y, b.height, view.top, view.canvas_height)?;
    Some(Region { x, y, width, height })
}

fn pays(first: &Letterbox, scout: &Letterbox, part: &Letterbox) -> bool {
    (pixels(scout) + pixels(part)) as f64 <= WORTH * pixels(first) as f64
}

fn pixels(view: &Letterbox) -> u64 {
    u64::from(view.canvas_width) * u64::from(view.canvas_height)
}

#[cfg(test)]
mod tests {
    use domain::{BoundingBox, Landmarks};
    use proptest::prelude::*;

    use super::*;

    const VIEWS: Views = Views { canvas: Canvas::Fitting { least: 640, most: 640 }, tiles: 0, scouts: true };
    const SURE: f32 = 0.7;

    fn face(x: f32, y: f32, side: f32, score: f32) -> Detection {
        let bounding_box = BoundingBox { x, y, width: side, height: side };
        Detection { bounding_box, landmarks: Landmarks::default(), score }
    }

    fn canvas(view: &Letterbox) -> (u32, u32) {
        (view.canvas_width, view.canvas_height)
    }

    #[test]
    fn a_portrait_is_scouted_small_and_seen_in_the_part_around_its_face() {
        assert_eq!(VIEWS.scout(250, 250).map(|v| canvas(&v)), Some((160, 160)));
        let close = VIEWS.close((250, 250), &[face(75.0, 75.0, 100.0, 0.9)], SURE).unwrap();
        // Its middle is at 320 on the canvas.
        assert_eq!((canvas(&close.view), close.view.left, close.view.top), ((448, 448), -96, -96));
        let aside = VIEWS.close((250, 250), &[face(10.0, 75.0, 100.0, 0.9)], SURE).unwrap();
        assert_eq!((canvas(&aside.view), aside.view.left), ((384, 448), 0), "it ends where the canvas ends");
        assert_eq!(close.view.scale, VIEWS.first(250, 250).scale);
    }

    #[test]
    fn only_the_first_view_tells_where_the_face_is_small_doubtful_rivalled_or_fills_the_picture() {
        let close = |faces: &[Detection]| VIEWS.close((250, 250), faces, SURE);
        let sure = face(75.0, 75.0, 100.0, 0.9);
        assert!(close(&[]).is_none());
        assert!(close(&[face(75.0, 75.0, 100.0, 0.69)]).is_none(), "doubtful");
        assert!(close(&[face(110.0, 110.0, 30.0, 0.9)]).is_none(), "small");
        assert!(close(&[face(10.0, 10.0, 230.0, 0.9)]).is_none(), "fills the picture");
        assert!(close(&[sure, face(60.0, 80.0, 90.0, 0.4)]).is_none(), "a doubtful rival is one");
        assert!(close(&[sure, face(0.0, 0.0, 40.0, 0.9)]).is_some(), "a bystander is none");
    }

    #[test]
    fn nothing_is_scouted_where_it_would_not_pay_or_is_not_wanted() {
        let fitting = |least| Views { canvas: Canvas::Fitting { least, most: 640 }, ..VIEWS };
        assert!(fitting(640).scout(250, 250).is_some() && fitting(384).scout(250, 250).is_none());
        assert!(Views { scouts: false, ..VIEWS }.scout(250, 250).is_none());
        assert!(Views { canvas: Canvas::Square(640), ..VIEWS }.scout(250, 250).is_none());
    }

    #[test]
    fn the_face_seen_is_the_one_that_was_meant_or_none() {
        let close = VIEWS.close((250, 250), &[face(75.0, 75.0, 100.0, 0.9)], SURE).unwrap();
        let (itself, bystander) = (face(78.0, 74.0, 95.0, 0.8), face(60.0, 60.0, 20.0, 0.99));
        assert_eq!(close.meant(&[bystander, itself]), Some(itself));
        assert_eq!(close.meant(&[bystander]), None);
        assert_eq!(close.meant(&[itself, face(0.0, 40.0, 170.0, 0.9)]), None, "one that stands out more");
        assert_eq!(close.meant(&[]), None);
    }

    proptest! {
        #[test]
        fn a_part_lies_on_the_first_canvas_in_whole_steps_with_a_margin_around_the_face(
            (width, height) in (1_u32..4000, 1_u32..4000),
            (x, y, side) in (-0.2f32..1.2, -0.2f32..1.2, 0.0f32..1.5),
            least in prop::sample::select(vec![384_u32, 544, 640]),
        ) {
            let views = Views { canvas: Canvas::Fitting { least, most: 640 }, ..VIEWS };
            let length = width.max(height) as f32;
            let found = face(x * length - side * length / 2.0, y * length - side * length / 2.0, side * length, 0.9);
            let first = views.first(width, height);
            let scout = views.scout(width, height);
            prop_assert!(scout.is_none_or(|s| s.canvas_width % 32 == 0 && s.canvas_height % 32 == 0));
            if let Some(Close { view, .. }) = views.close((width, height), &[found], SURE) {
                prop_assert!(pays(&first, &scout.unwrap(), &view));
                let sides = [
                    (view.left, view.canvas_width, first.canvas_width, found.bounding_box.x),
                    (view.top, view.canvas_height, first.canvas_height, found.bounding_box.y),
                ];
                for (start, length, most, at) in sides {
                    let from = (-start) as u32;
                    prop_assert!(start <= 0 && length > 0 && from + length <= most);
                    prop_assert!([from, length].iter().all(|at| at.is_multiple_of(32)));
                    let (before, after) = (at * view.scale, (at + found.bounding_box.width) * view.scale);
                    prop_assert!(from == 0 || before - from as f32 >= 47.9, "{before} in {from}+{length}");
                    prop_assert!(from + length == most || (from + length) as f32 - after >= 47.9, "{after} in {from}+{length}");
                }
                prop_assert!(view.shown().is_some());
                prop_assert_eq!((view.width, view.height, view.region), (first.width, first.height, first.region));
            }
        }
    }
}
