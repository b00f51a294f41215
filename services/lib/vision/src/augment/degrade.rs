//! What distance and movement do to a picture. Called by `Drawn::apply`.

use crate::{Rgb8, resize};

/// Reduced to `side × side`, each pixel the mean of what it covers as a sensor's is, and enlarged again.
pub(super) fn reduced(picture: &Rgb8, side: u32) -> Rgb8 {
    let (width, height) = (picture.width(), picture.height());
    if side >= width.min(height) {
        return picture.clone();
    }
    resize(&area_mean(picture, side), width, height)
}

/// Parts of a line of `source` pixels that each of `target` covers: first pixel, and the weight of it and those after.
fn cells(source: u32, target: u32) -> Vec<(usize, Vec<f32>)> {
    let step = f64::from(source) / f64::from(target);
    let cell = |i: u32| {
        let (from, to) = (f64::from(i) * step, f64::from(i + 1) * step);
        let (first, last) = (from.floor() as u32, (to - 1e-9).floor() as u32);
        let share = |p: u32| ((to.min(f64::from(p) + 1.0) - from.max(f64::from(p))) / step) as f32;
        (first as usize, (first..=last.min(source - 1)).map(share).collect())
    };
    (0..target).map(cell).collect()
}

fn area_mean(picture: &Rgb8, side: u32) -> Rgb8 {
    let (columns, rows) = (cells(picture.width(), side), cells(picture.height(), side));
    let stride = picture.width() as usize * 3;
    let mut out = Rgb8::filled(side, side, [0; 3]);
    let targets = out.data_mut().as_chunks_mut::<3>().0.chunks_exact_mut(side as usize);
    for (target, (top, heights)) in targets.zip(&rows) {
        for (pixel, (left, widths)) in target.iter_mut().zip(&columns) {
            let mut sum = [0.0f32; 3];
            for (y, h) in heights.iter().enumerate() {
                let row = &picture.data()[(top + y) * stride + left * 3..];
                for (x, w) in widths.iter().enumerate() {
                    for (c, s) in sum.iter_mut().enumerate() {
                        *s += h * w * f32::from(row[x * 3 + c]);
                    }
                }
            }
            *pixel = sum.map(|s| s.round().clamp(0.0, 255.0) as u8);
        }
    }
    out
}

/// A movement while the picture was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// Pixels.
    pub length: f32,
    /// Degrees from the row.
    pub direction: f32,
}

impl Motion {
    /// Every pixel becomes the mean of those along the movement; past the border the last one goes on.
    pub(super) fn apply(&self, picture: &Rgb8) -> Rgb8 {
        let steps = self.length.round().max(1.0) as i32;
        let (sin, cos) = self.direction.to_radians().sin_cos();
        let offset = |i: i32| {
            let along = (i as f32 - (steps - 1) as f32 / 2.0) * self.length / steps as f32;
            ((along * cos).round() as i32, (along * sin).round() as i32)
        };
        let offsets: Vec<(i32, i32)> = (0..steps).map(offset).collect();
        let (width, height) = (picture.width() as i32, picture.height() as i32);
        let mut out = picture.clone();
        for (at, pixel) in out.data_mut().as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let (x, y) = (at as i32 % width, at as i32 / width);
            let mut sum = [0u32; 3];
            for (dx, dy) in &offsets {
                let (x, y) = ((x + dx).clamp(0, width - 1), (y + dy).clamp(0, height - 1));
                let from = (y * width + x) as usize * 3;
                for (c, s) in sum.iter_mut().enumerate() {
                    *s += u32::from(picture.data()[from + c]);
                }
            }
            let count = offsets.len() as u32;
            *pixel = sum.map(|s| ((s + count / 2) / count) as u8);
        }
        out
    }
}
