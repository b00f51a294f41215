//! Focus and light of an aligned crop. Called by `quality`.

use super::percent;
use crate::Rgb8;

/// Variance of the Laplacian at which a crop counts as fully sharp: the upper quarter of everyday portraits.
const SHARP_VARIANCE: f32 = 600.0;
/// Variance of the Laplacian at which nothing of the focus is left.
const BLURRED_VARIANCE: f32 = 4.0;
/// Mean luminance below which light is missing, and at which it is gone.
const DARK: (f32, f32) = (70.0, 10.0);
/// Mean luminance above which the skin burns out, and at which it is gone.
const BRIGHT: (f32, f32) = (190.0, 250.0);
/// Standard deviation of luminance that a well lit face reaches, and at which it is flat.
const CONTRAST: (f32, f32) = (30.0, 4.0);

/// Part of the crop that is face and not hair, ear or background, as shares of its sides.
const FACE: (f32, f32, f32, f32) = (0.20, 0.80, 0.30, 0.95);

/// 0 to 100 by the logarithm of the Laplacian's variance over the face. `luma` is the crop's [`luminance`].
pub(super) fn sharpness(aligned: &Rgb8, luma: &[f32]) -> f32 {
    let width = aligned.width() as usize;
    let (mut count, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (x, y) in face_pixels(aligned) {
        if x == 0 || y == 0 || x + 1 >= width || (y + 2) * width > luma.len() {
            continue;
        }
        let at = y * width + x;
        let value = f64::from(luma[at - 1] + luma[at + 1] + luma[at - width] + luma[at + width] - 4.0 * luma[at]);
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    if count == 0.0 {
        return 0.0;
    }
    let variance = (squares / count - (sum / count).powi(2)) as f32;
    percent((variance / BLURRED_VARIANCE).ln() / (SHARP_VARIANCE / BLURRED_VARIANCE).ln())
}

/// Luminance figures of the face.
pub(super) struct Light {
    mean: f32,
    deviation: f32,
    /// Share of pixels at either end of the scale.
    clipped: f32,
    left: f32,
    right: f32,
}

/// Measures the light. `luma` is the crop's [`luminance`].
pub(super) fn light(aligned: &Rgb8, luma: &[f32]) -> Light {
    let width = aligned.width() as usize;
    let (mut count, mut sum, mut squares, mut clipped) = (0.0_f32, 0.0_f64, 0.0_f64, 0.0_f32);
    let mut sides = [(0.0_f32, 0.0_f32); 2];
    for (x, y) in face_pixels(aligned) {
        let value = luma[y * width + x];
        count += 1.0;
        sum += f64::from(value);
        squares += f64::from(value) * f64::from(value);
        clipped += f32::from(u8::from(!(6.0..=249.0).contains(&value)));
        let side = &mut sides[usize::from(x * 2 >= width)];
        *side = (side.0 + value, side.1 + 1.0);
    }
    let all = f64::from(count).max(1.0);
    let mean = sum / all;
    let average = |side: (f32, f32)| side.0 / side.1.max(1.0);
    Light {
        mean: mean as f32,
        deviation: (squares / all - mean * mean).max(0.0).sqrt() as f32,
        clipped: clipped / count.max(1.0),
        left: average(sides[0]),
        right: average(sides[1]),
    }
}

impl Light {
    /// 0 to 100: the worst of darkness, brightness and flatness, less what is clipped.
    pub(super) fn illumination(&self) -> f32 {
        let ramp = |(full, none): (f32, f32), value: f32| ((value - none) / (full - none)).clamp(0.0, 1.0);
        let worst = ramp(DARK, self.mean).min(ramp(BRIGHT, self.mean)).min(ramp(CONTRAST, self.deviation));
        percent(worst * (1.0 - self.clipped))
    }

    /// 100 where both halves are lit alike, 0 where one has a third of the other's light.
    pub(super) fn symmetry(&self) -> f32 {
        let difference = (self.left - self.right).abs() / (self.left + self.right).max(1.0);
        percent(1.0 - 2.0 * difference)
    }

    pub(super) fn is_dark(&self) -> bool {
        self.mean < 45.0
    }

    pub(super) fn is_bright(&self) -> bool {
        self.mean > 215.0
    }

    pub(super) fn is_flat(&self) -> bool {
        self.deviation < 12.0
    }
}

fn face_pixels(aligned: &Rgb8) -> impl Iterator<Item = (usize, usize)> + use<> {
    let part = |side: u32, from: f32, to: f32| (side as f32 * from) as usize..(side as f32 * to) as usize;
    let (columns, rows) = (part(aligned.width(), FACE.0, FACE.1), part(aligned.height(), FACE.2, FACE.3));
    rows.flat_map(move |y| columns.clone().map(move |x| (x, y)))
}

/// Rec. 601 luma of every pixel, for both measures.
pub(super) fn luminance(image: &Rgb8) -> Vec<f32> {
    let luma = |p: &[u8]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
    image.data().chunks_exact(3).map(luma).collect()
}
