//! Bilinear sampling of a picture under a similarity. Called by `align` and `augment`.

use super::Similarity;
use crate::Rgb8;

/// A picture of `side × side` with `margin` more on every side, whose pixel (x, y) is the source at `to_source` of
/// (x − margin, y − margin); black outside the source, fading over the last half pixel as each of the four neighbours
/// counts for itself. What is inside the margin is the same to the last bit, whatever the margin.
pub(crate) fn warp(image: &Rgb8, to_source: &Similarity, side: u32, margin: u32) -> Rgb8 {
    let whole = side + 2 * margin;
    let mut out = Rgb8::filled(whole, whole, [0; 3]);
    let (source, margin) = (Source::new(image), f64::from(margin));
    for (y, row) in out.data_mut().chunks_exact_mut(whole as usize * 3).enumerate() {
        // Along a row the place in the source moves by the same step.
        let [x0, y0] = to_source.apply([0.0, y as f64 - margin]);
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let step = x as f64 - margin;
            pixel.copy_from_slice(&source.sample([x0 + step * to_source.a, y0 + step * to_source.b]));
        }
    }
    out
}

struct Source<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl<'a> Source<'a> {
    fn new(image: &'a Rgb8) -> Self {
        Self { data: image.data(), width: image.width() as usize, height: image.height() as usize }
    }

    #[inline]
    fn sample(&self, [x, y]: [f64; 2]) -> [u8; 3] {
        // Written so that anything not a number is outside.
        let inside = x > -1.0 && y > -1.0 && x < self.width as f64 && y < self.height as f64;
        if !inside {
            return [0; 3];
        }
        // One more than the floor, which is -1 at least: a conversion is quicker than a rounding function.
        let (right, bottom) = ((x + 1.0) as usize, (y + 1.0) as usize);
        let (fx, fy) = ((x + 1.0 - right as f64) as f32, (y + 1.0 - bottom as f64) as f32);
        if right == 0 || bottom == 0 || right >= self.width || bottom >= self.height {
            let near = [self.pixel(right, bottom, 1, 1), self.pixel(right, bottom, 0, 1)];
            let far = [self.pixel(right, bottom, 1, 0), self.pixel(right, bottom, 0, 0)];
            return mix(|c| [near[0][c], near[1][c], far[0][c], far[1][c]], fx, fy);
        }
        let at = ((bottom - 1) * self.width + right - 1) * 3;
        let below = at + self.width * 3;
        let (near, far) = (&self.data[at..at + 6], &self.data[below..below + 6]);
        mix(|c| [near[c], near[c + 3], far[c], far[c + 3]].map(f32::from), fx, fy)
    }

    /// The pixel so many left of and above (right, bottom); black outside.
    fn pixel(&self, right: usize, bottom: usize, left_of: usize, above: usize) -> [f32; 3] {
        let (Some(x), Some(y)) = (right.checked_sub(left_of), bottom.checked_sub(above)) else { return [0.0; 3] };
        if x >= self.width || y >= self.height {
            return [0.0; 3];
        }
        let at = (y * self.width + x) * 3;
        let p = &self.data[at..at + 3];
        [p[0].into(), p[1].into(), p[2].into()]
    }
}

/// Each channel between its four neighbours: above left and right, below left and right.
#[inline]
fn mix(neighbours: impl Fn(usize) -> [f32; 4], fx: f32, fy: f32) -> [u8; 3] {
    let mut out = [0; 3];
    for (c, o) in out.iter_mut().enumerate() {
        let [a, b, d, e] = neighbours(c);
        let (upper, lower) = (a + (b - a) * fx, d + (e - d) * fx);
        *o = (upper + (lower - upper) * fy + 0.5) as u8;
    }
    out
}
