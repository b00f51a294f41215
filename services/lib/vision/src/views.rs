//! Where a detector looks in a picture, and on how large a canvas. A detector's time grows with its canvas: a portrait
//! of 250 pixels holds nothing that a canvas of 640 would show better, while a small face in a large picture is seen
//! only in a part of it. Called by the detect stage.

mod close;

pub use close::Close;

use crate::letterbox::{Letterbox, Region};

/// Detectors halve the picture five times.
const STEP: u32 = 32;

/// Part of a tile that its neighbour shows too, so that no face is cut by every tile: a fifth.
const OVERLAP: f64 = 0.2;

/// Reduction at which a picture is looked at in tiles: below, a face of 20 pixels is gone.
const TILED_BELOW: f64 = 0.5;

/// Share of the canvas that a bordered picture takes: a border of a quarter of its sides all around.
const BORDERED: f64 = 1.0 / 1.5;

/// The canvases that a detector may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canvas {
    /// Any multiple of 32 in either direction: as small as the picture allows. For processors, which do not mind a new
    /// shape.
    Fitting {
        /// Shortest longer side.
        least: u32,
        /// Longest side.
        most: u32,
    },
    /// One square size, so that pictures can be laid together and the engine is tuned once.
    Square(u32),
}

/// How a detector looks at pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Views {
    /// On what canvas.
    pub canvas: Canvas,
    /// Most tiles of one picture; 0 for none.
    pub tiles: usize,
    /// Whether a single face is looked for on a small canvas, and then seen in a part of the large one.
    pub scouts: bool,
}

impl Views {
    /// The first view of a `width × height` picture: all of it. Most pictures need no other.
    #[must_use]
    pub fn first(&self, width: u32, height: u32) -> Letterbox {
        match self.canvas {
            Canvas::Square(side) => Letterbox::fit(width, height, side, side),
            Canvas::Fitting { least, most } => {
                let side = round_up(width.max(height)).clamp(least.min(most), most);
                whole(width, height, side)
            }
        }
    }

    /// What to look at when nothing was found so far, step by step: the picture enlarged; with a border around it,
    /// for a face that fills it to the edges; in tiles, for a face lost in it. What the views of one step find
    /// belongs together.
    #[must_use]
    pub fn further(&self, width: u32, height: u32) -> Vec<Vec<Letterbox>> {
        let first = self.first(width, height);
        let most = self.most();
        let mut steps = Vec::new();
        if first.canvas_width.max(first.canvas_height) < most {
            steps.push(vec![whole(width, height, most)]);
        }
        steps.push(vec![self.bordered(width, height)]);
        let mut scale = f64::from(most) / f64::from(width.max(height));
        while scale < TILED_BELOW {
            scale *= 2.0;
            let tiles = tiles(width, height, most, scale);
            if tiles.len() > self.tiles {
                break;
            }
            steps.push(tiles);
        }
        steps
    }

    fn most(&self) -> u32 {
        match self.canvas {
            Canvas::Fitting { most, .. } => most,
            Canvas::Square(side) => side,
        }
    }

    fn bordered(&self, width: u32, height: u32) -> Letterbox {
        let most = self.most();
        let scale = f64::from(most) * BORDERED / f64::from(width.max(height).max(1));
        let side = |length: u32| round_up((f64::from(length) * scale / BORDERED).round() as u32).min(most);
        let canvas = match self.canvas {
            Canvas::Square(side) => (side, side),
            Canvas::Fitting { .. } => (side(width), side(height)),
        };
        Letterbox::at_scale(Region { x: 0, y: 0, width: width.max(1), height: height.max(1) }, scale, canvas).centred()
    }
}

/// The whole picture with its longer side as long as the canvas, which has no more rows or columns than that takes.
fn whole(width: u32, height: u32, side: u32) -> Letterbox {
    let fit = Letterbox::fit(width, height, side, side);
    Letterbox { canvas_width: round_up(fit.width), canvas_height: round_up(fit.height), ..fit }
}

/// Tiles of at most `side` canvas pixels, evenly over the picture at this scale.
fn tiles(width: u32, height: u32, side: u32, scale: f64) -> Vec<Letterbox> {
    let extent = ((f64::from(side) / scale).round() as u32).max(1);
    let columns = starts(width, extent);
    let rows = starts(height, extent);
    let tile = |x: u32, y: u32| {
        let region = Region { x, y, width: extent.min(width - x), height: extent.min(height - y) };
        Letterbox::at_scale(region, scale, (side, side))
    };
    rows.iter().flat_map(|&y| columns.iter().map(move |&x| tile(x, y))).collect()
}

/// First pixels of the fewest parts of `extent` that cover `length` and overlap by [`OVERLAP`] at least.
fn starts(length: u32, extent: u32) -> Vec<u32> {
    if length <= extent {
        return vec![0];
    }
    let (rest, stride) = (f64::from(length - extent), f64::from(extent) * (1.0 - OVERLAP));
    let steps = (rest / stride).ceil();
    (0..=steps as u32).map(|i| (f64::from(i) * rest / steps).round() as u32).collect()
}

fn round_up(length: u32) -> u32 {
    length.max(1).div_ceil(STEP).saturating_mul(STEP)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FITTING: Views = Views { canvas: Canvas::Fitting { least: 320, most: 640 }, tiles: 32, scouts: true };

    fn canvas(view: &Letterbox) -> (u32, u32) {
        (view.canvas_width, view.canvas_height)
    }

    #[test]
    fn the_canvas_is_as_small_as_the_picture_allows() {
        let cases = [
            ((250, 250), (320, 320)),
            ((400, 300), (416, 320)),
            ((640, 480), (640, 480)),
            ((3000, 2000), (640, 448)),
            ((20, 400), (32, 416)),
        ];
        for ((w, h), wanted) in cases {
            assert_eq!(canvas(&FITTING.first(w, h)), wanted, "{w}x{h}");
        }
        let square = Views { canvas: Canvas::Square(640), tiles: 0, scouts: true };
        assert_eq!(canvas(&square.first(250, 100)), (640, 640));
        assert_eq!(square.further(250, 100).len(), 1, "the border alone");
    }

    #[test]
    fn a_huge_picture_ends_in_tiles_in_which_a_small_face_keeps_its_pixels() {
        let steps = FITTING.further(8000, 6000);
        let last = steps.last().unwrap();
        assert!(last.len() <= 32 && last[0].scale > 0.3, "{} tiles at {}", last.len(), last[0].scale);
        let none = Views { tiles: 0, ..FITTING };
        assert_eq!(none.further(8000, 6000).len(), 1);
    }

    #[test]
    fn a_border_is_a_quarter_on_each_side() {
        let steps = FITTING.further(150, 150);
        let bordered = steps[1][0];
        assert_eq!((canvas(&bordered), bordered.width, bordered.left), ((640, 640), 427, 106));
    }

    proptest! {
        #[test]
        fn every_view_fits_its_canvas_and_tiles_leave_no_pixel_out(
            width in 1_u32..9000,
            height in 1_u32..9000,
            square in any::<bool>(),
        ) {
            let canvas = if square { Canvas::Square(640) } else { Canvas::Fitting { least: 320, most: 640 } };
            let views = Views { canvas, tiles: 100, scouts: true };
            let mut steps = views.further(width, height);
            steps.push(vec![views.first(width, height)]);
            for step in &steps {
                prop_assert!(step.len() <= 100);
                for v in step {
                    prop_assert!(v.canvas_width % 32 == 0 && v.canvas_height % 32 == 0);
                    prop_assert!(v.canvas_width.max(v.canvas_height) <= 640);
                    let ends = [(v.left, v.width, v.canvas_width), (v.top, v.height, v.canvas_height)];
                    prop_assert!(ends.iter().all(|&(start, length, most)| start >= 0 && start as u32 + length <= most));
                    prop_assert!(v.region.x + v.region.width <= width && v.region.y + v.region.height <= height);
                }
                for (x, y) in [(0, 0), (width - 1, 0), (width / 2, height / 2), (width / 3, height - 1), (width - 1, height - 1)] {
                    let shown = |v: &Letterbox| {
                        let r = v.region;
                        (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y)
                    };
                    prop_assert!(step.iter().any(shown), "({x}, {y}) is in no view");
                }
            }
        }
    }
}
