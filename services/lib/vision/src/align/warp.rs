//! Bilinear sampling of a picture under a similarity. Called by `align`.

use super::Similarity;
use crate::Rgb8;

/// A `side × side` picture whose pixel (x, y) is the source at `to_source` of (x, y); black outside the source,
/// fading over the last half pixel as each of the four neighbours counts for itself.
pub(super) fn warp(image: &Rgb8, to_source: &Similarity, side: u32) -> Rgb8 {
    let mut out = Rgb8::filled(side, side, [0; 3]);
    let source = Source::new(image);
    for (index, pixel) in out.data_mut().chunks_exact_mut(3).enumerate() {
        let (x, y) = (index % side as usize, index / side as usize);
        let at = to_source.apply([x as f64, y as f64]);
        pixel.copy_from_slice(&source.sample(at));
    }
    out
}

struct Source<'a> {
    data: &'a [u8],
    width: i64,
    height: i64,
}

impl<'a> Source<'a> {
    fn new(image: &'a Rgb8) -> Self {
        Self { data: image.data(), width: image.width().into(), height: image.height().into() }
    }

    fn sample(&self, [x, y]: [f64; 2]) -> [u8; 3] {
        // Written so that anything not a number is outside.
        let inside = x > -1.0 && y > -1.0 && x < self.width as f64 && y < self.height as f64;
        if !inside {
            return [0; 3];
        }
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = ((x - left) as f32, (y - top) as f32);
        let (left, top) = (left as i64, top as i64);
        let near = [self.pixel(left, top), self.pixel(left + 1, top)];
        let far = [self.pixel(left, top + 1), self.pixel(left + 1, top + 1)];
        let mut out = [0; 3];
        for (c, o) in out.iter_mut().enumerate() {
            let upper = near[0][c] + (near[1][c] - near[0][c]) * fx;
            let lower = far[0][c] + (far[1][c] - far[0][c]) * fx;
            *o = (upper + (lower - upper) * fy).round_ties_even() as u8;
        }
        out
    }

    #[inline]
    fn pixel(&self, x: i64, y: i64) -> [f32; 3] {
        if x < 0 || y < 0 || x >= self.width || y >= self.height {
            return [0.0; 3];
        }
        let at = (y * self.width + x) as usize * 3;
        let p = &self.data[at..at + 3];
        [p[0].into(), p[1].into(), p[2].into()]
    }
}
