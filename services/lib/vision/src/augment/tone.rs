//! Light and colour: brightness, then contrast, then saturation. Called by `Drawn::apply`.

use super::Drawn;
use crate::Rgb8;

/// Weights of red, green and blue in a grey (ITU-R BT.601).
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

pub(super) fn apply(picture: &mut Rgb8, drawn: &Drawn) {
    if drawn.brightness.is_none() && drawn.contrast.is_none() && drawn.saturation.is_none() {
        return;
    }
    let factor = |change: Option<f32>| 1.0 + change.unwrap_or(0.0);
    let (light, spread, colour) = (factor(drawn.brightness), factor(drawn.contrast), factor(drawn.saturation));
    let pixels = picture.data().len() / 3;
    let sum: f64 = picture.data().chunks_exact(3).map(|p| f64::from(grey(rgb(p)))).sum();
    let mean = (sum / pixels as f64) as f32 * light;
    for pixel in picture.data_mut().chunks_exact_mut(3) {
        let contrasted = rgb(pixel).map(|v| (v * light - mean) * spread + mean);
        let own = grey(contrasted);
        for (target, value) in pixel.iter_mut().zip(contrasted) {
            *target = ((value - own) * colour + own).round().clamp(0.0, 255.0) as u8;
        }
    }
}

fn rgb(pixel: &[u8]) -> [f32; 3] {
    [0, 1, 2].map(|c| f32::from(pixel[c]))
}

fn grey(pixel: [f32; 3]) -> f32 {
    pixel.iter().zip(GREY).map(|(v, w)| v * w).sum()
}
