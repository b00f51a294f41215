//! Letterboxing for the detector: bilinear resize with half-pixel centres and no antialiasing, onto a black canvas.
//! Called by the detect stage. It equals OpenCV's `resize(INTER_LINEAR)` on 8-bit pictures, by which the detectors
//! are commonly fed, down to its 11-bit weights: another filter would move faces near the threshold.

use crate::tensor::{Normalisation, TensorError, check_length};
use crate::{Detection, Rgb8};

/// Bits of an interpolation weight.
const WEIGHT_BITS: i32 = 11;

/// Where a picture lies on a canvas: at the top left, its aspect kept, enlarged or reduced to fit; black elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Canvas columns.
    pub canvas_width: u32,
    /// Canvas rows.
    pub canvas_height: u32,
    /// Columns of the canvas that the picture takes.
    pub width: u32,
    /// Rows of the canvas that the picture takes.
    pub height: u32,
    /// Canvas pixels per picture pixel.
    pub scale: f32,
}

impl Letterbox {
    /// The largest fit of a `width × height` picture. Canvas sides of zero become one.
    #[must_use]
    pub fn fit(width: u32, height: u32, canvas_width: u32, canvas_height: u32) -> Self {
        let (canvas_width, canvas_height) = (canvas_width.max(1), canvas_height.max(1));
        let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
        let scale = (f64::from(canvas_width) / w).min(f64::from(canvas_height) / h);
        let side = |length: f64, most: u32| ((length * scale).round_ties_even() as u32).clamp(1, most);
        Self {
            canvas_width,
            canvas_height,
            width: side(w, canvas_width),
            height: side(h, canvas_height),
            scale: scale as f32,
        }
    }

    /// A detection in canvas pixels, in pixels of the picture.
    #[must_use]
    pub fn to_image(&self, on_canvas: &Detection) -> Detection {
        let mut found = *on_canvas;
        let (b, s) = (&mut found.bounding_box, self.scale);
        for value in [&mut b.x, &mut b.y, &mut b.width, &mut b.height] {
            *value /= s;
        }
        for value in found.landmarks.0.iter_mut().flatten() {
            *value /= s;
        }
        found
    }
}

/// Resizes to exactly `width × height` (at least one pixel a side), bilinear without antialiasing.
#[must_use]
pub fn resize(image: &Rgb8, width: u32, height: u32) -> Rgb8 {
    let mut out = Rgb8::filled(width, height, [0; 3]);
    let stride = out.width() as usize * 3;
    let (width, height) = (out.width(), out.height());
    let target = out.data_mut();
    for_each_row(image, width, height, |y, row| target[y * stride..(y + 1) * stride].copy_from_slice(row));
    out
}

/// The picture on its canvas, 8-bit.
#[must_use]
pub fn letterbox(image: &Rgb8, fit: &Letterbox) -> Rgb8 {
    let mut canvas = Rgb8::filled(fit.canvas_width, fit.canvas_height, [0; 3]);
    let stride = canvas.width() as usize * 3;
    let target = canvas.data_mut();
    for_each_row(image, fit.width, fit.height, |y, row| {
        target[y * stride..][..row.len()].copy_from_slice(row);
    });
    canvas
}

/// The picture on its canvas as a detector's input: three planes of `canvas_height × canvas_width` floats, normalised
/// (the black border too). Equal to [`letterbox`] followed by [`Normalisation::write_planar`], without the canvas.
///
/// # Errors
/// [`TensorError`] where `out` is not `3 × canvas_height × canvas_width` long.
pub fn letterbox_tensor(
    image: &Rgb8,
    fit: &Letterbox,
    normalisation: &Normalisation,
    out: &mut [f32],
) -> Result<(), TensorError> {
    let (width, plane) = (fit.canvas_width as usize, fit.canvas_width as usize * fit.canvas_height as usize);
    check_length(plane * 3, out.len())?;
    for (channel, values) in out.chunks_exact_mut(plane).enumerate() {
        let border = normalisation.apply(channel, 0);
        values[fit.height as usize * width..].fill(border);
        for row in values.chunks_exact_mut(width).take(fit.height as usize) {
            row[fit.width as usize..].fill(border);
        }
    }
    for_each_row(image, fit.width, fit.height, |y, row| normalisation.write_row(row, y * width, plane, out));
    Ok(())
}

/// For one axis: the two source samples of every target sample and the weight of the second.
struct Taps {
    first: Vec<usize>,
    second: Vec<usize>,
    weight: Vec<[i32; 2]>,
}

impl Taps {
    fn new(source: u32, target: u32) -> Self {
        let (ratio, last) = (f64::from(source) / f64::from(target), source as usize - 1);
        let one = 1 << WEIGHT_BITS;
        let mut taps = Self { first: Vec::new(), second: Vec::new(), weight: Vec::new() };
        for i in 0..target {
            let centre = ((f64::from(i) + 0.5) * ratio - 0.5) as f32;
            let floor = centre.floor();
            let (mut at, mut fraction) = (floor as i64, centre - floor);
            if at < 0 {
                (at, fraction) = (0, 0.0);
            }
            let first = (at as usize).min(last);
            if first == last {
                fraction = 0.0;
            }
            taps.first.push(first);
            taps.second.push((first + 1).min(last));
            let round = |part: f32| (part * one as f32).round_ties_even() as i32;
            taps.weight.push([round(1.0 - fraction), round(fraction)]);
        }
        taps
    }
}

/// Calls `emit` with every row of the resized picture from the top. Each source row that is needed is interpolated
/// along x once; only two are kept.
fn for_each_row(image: &Rgb8, width: u32, height: u32, mut emit: impl FnMut(usize, &[u8])) {
    let (along_x, along_y) = (Taps::new(image.width(), width), Taps::new(image.height(), height));
    let length = width as usize * 3;
    let mut rows = [(usize::MAX, vec![0_i16; length]), (usize::MAX, vec![0_i16; length])];
    let mut out = vec![0_u8; length];
    for y in 0..height as usize {
        let (upper, lower) = (along_y.first[y], along_y.second[y]);
        if rows[0].0 != upper && rows[1].0 == upper {
            rows.swap(0, 1);
        }
        for (slot, wanted) in rows.iter_mut().zip([upper, lower]) {
            if slot.0 != wanted {
                interpolate_row(image.row(wanted as u32), &along_x, &mut slot.1);
                slot.0 = wanted;
            }
        }
        let [a, b] = along_y.weight[y];
        for ((o, &top), &bottom) in out.iter_mut().zip(&rows[0].1).zip(&rows[1].1) {
            let sum = ((a * i32::from(top)) >> 16) + ((b * i32::from(bottom)) >> 16);
            *o = ((sum + 2) >> 2) as u8;
        }
        emit(y, &out);
    }
}

/// One source row at the target's columns, with 7 of the weight's 11 bits left so that it fits 16 bits.
fn interpolate_row(row: &[u8], taps: &Taps, out: &mut [i16]) {
    let columns = taps.first.iter().zip(&taps.second).zip(&taps.weight);
    for (target, ((&first, &second), &[a, b])) in out.chunks_exact_mut(3).zip(columns) {
        let (p, q) = (&row[first * 3..first * 3 + 3], &row[second * 3..second * 3 + 3]);
        for c in 0..3 {
            target[c] = ((a * i32::from(p[c]) + b * i32::from(q[c])) >> 4) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChannelOrder;

    fn gradient(width: u32, height: u32) -> Rgb8 {
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8]));
        Rgb8::new(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn the_same_size_changes_nothing_and_a_plain_picture_stays_plain() {
        let image = gradient(31, 17);
        assert_eq!(resize(&image, 31, 17), image);
        assert_eq!(resize(&Rgb8::filled(5, 9, [1, 128, 255]), 33, 2), Rgb8::filled(33, 2, [1, 128, 255]));
    }

    #[test]
    fn doubling_uses_half_pixel_centres() {
        let image = Rgb8::new(2, 1, vec![0, 0, 0, 200, 200, 200]).unwrap();
        let reds: Vec<u8> = resize(&image, 4, 1).data().iter().step_by(3).copied().collect();
        assert_eq!(reds, [0, 50, 150, 200]);
    }

    #[test]
    fn letterbox_lies_top_left_on_black_and_maps_back() {
        let fit = Letterbox::fit(200, 100, 64, 64);
        assert_eq!((fit.width, fit.height), (64, 32));
        let canvas = letterbox(&Rgb8::filled(200, 100, [9; 3]), &fit);
        assert_eq!((canvas.pixel(63, 31), canvas.pixel(0, 32)), ([9; 3], [0; 3]));
        let on_canvas = Detection {
            bounding_box: domain::BoundingBox { x: 32.0, y: 16.0, width: 16.0, height: 8.0 },
            landmarks: domain::Landmarks([[32.0, 16.0]; 5]),
            score: 0.5,
        };
        let found = fit.to_image(&on_canvas);
        assert_eq!(found.bounding_box, domain::BoundingBox { x: 100.0, y: 50.0, width: 50.0, height: 25.0 });
        assert_eq!(found.landmarks.0[4], [100.0, 50.0]);
    }

    #[test]
    fn extreme_shapes_keep_one_pixel() {
        let fit = Letterbox::fit(6000, 2, 640, 640);
        assert_eq!((fit.width, fit.height), (640, 1));
        assert_eq!(letterbox(&Rgb8::filled(6000, 2, [3; 3]), &fit).pixel(639, 0), [3; 3]);
        let fit = Letterbox::fit(1, 1, 640, 320);
        assert_eq!((fit.width, fit.height), (320, 320));
    }

    #[test]
    fn the_tensor_is_the_normalised_canvas() {
        let image = gradient(50, 70);
        let fit = Letterbox::fit(50, 70, 64, 96);
        let how = Normalisation { order: ChannelOrder::Bgr, mean: [1.0, 2.0, 3.0], scale: [0.5, 0.25, 2.0] };
        let (mut direct, mut by_canvas) = (vec![f32::NAN; 3 * 64 * 96], vec![f32::NAN; 3 * 64 * 96]);
        letterbox_tensor(&image, &fit, &how, &mut direct).unwrap();
        how.write_planar(&letterbox(&image, &fit), &mut by_canvas).unwrap();
        assert_eq!(direct, by_canvas);
        assert!(letterbox_tensor(&image, &fit, &how, &mut direct[1..]).is_err());
    }
}
