//! Bilinear resizing with half-pixel centres and no antialiasing, row by row. Called by `letterbox`. It equals OpenCV's
//! `resize(INTER_LINEAR)` on 8-bit pictures, by which the detectors are commonly fed, down to its 11-bit weights:
//! another filter would move faces near the threshold.

use std::ops::Range;

use crate::{Rgb8, letterbox::Region};

/// Bits of an interpolation weight.
const WEIGHT_BITS: i32 = 11;

/// Resizes to exactly `width × height` (at least one pixel a side), bilinear without antialiasing.
#[must_use]
pub fn resize(image: &Rgb8, width: u32, height: u32) -> Rgb8 {
    let mut out = Rgb8::filled(width, height, [0; 3]);
    let stride = out.width() as usize * 3;
    let (width, height) = (out.width(), out.height());
    let target = out.data_mut();
    let all = Region { x: 0, y: 0, width, height };
    for_each_row(image, Region::whole(image), (width, height), all, |y, row| row.interleave(&mut target[y * stride..]));
    out
}

/// One row of a resized picture: the rows above and below it in the source, resized along x and split into planes of
/// red, green and blue, and their weights.
pub(crate) struct Row<'a> {
    above: &'a [i16],
    below: &'a [i16],
    weights: [i16; 2],
    width: usize,
}

impl Row<'_> {
    /// Calls `put` with every sample of a channel (0 red, 1 green, 2 blue), zipped with `targets`.
    pub(crate) fn each<'t, T: 't>(
        &self,
        channel: usize,
        targets: impl Iterator<Item = &'t mut T>,
        put: impl Fn(&mut T, u8),
    ) {
        let plane = channel * self.width..(channel + 1) * self.width;
        let [a, b] = self.weights.map(i32::from);
        for ((target, &above), &below) in targets.zip(&self.above[plane.clone()]).zip(&self.below[plane]) {
            let sum = ((a * i32::from(above)) >> 16) + ((b * i32::from(below)) >> 16);
            put(target, ((sum + 2) >> 2) as u8);
        }
    }

    /// Writes RGB triples.
    pub(crate) fn interleave(&self, out: &mut [u8]) {
        for channel in 0..3 {
            self.each(channel, out[..self.width * 3].iter_mut().skip(channel).step_by(3), |target, sample| {
                *target = sample
            });
        }
    }
}

/// For one axis: the two source samples of every target sample wanted, and their weights.
struct Taps {
    first: Vec<usize>,
    second: Vec<usize>,
    weight: Vec<[i16; 2]>,
}

impl Taps {
    fn new(source: u32, target: u32, wanted: Range<u32>) -> Self {
        let (ratio, last) = (f64::from(source) / f64::from(target), source as usize - 1);
        let one = 1 << WEIGHT_BITS;
        let mut taps = Self { first: Vec::new(), second: Vec::new(), weight: Vec::new() };
        for i in wanted {
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
            let round = |part: f32| (part * one as f32).round_ties_even() as i16;
            taps.weight.push([round(1.0 - fraction), round(fraction)]);
        }
        taps
    }
}

/// Calls `emit` with every row of a part (`shown`) of the resized region from the top, counted from zero. Each source
/// row that is needed is interpolated along x once; only two are kept.
pub(crate) fn for_each_row(
    image: &Rgb8,
    region: Region,
    (width, height): (u32, u32),
    shown: Region,
    mut emit: impl FnMut(usize, &Row<'_>),
) {
    let Region { x, y, width: columns, height: rows } = region;
    let along_x = Taps::new(columns, width, shown.x..shown.x + shown.width);
    let along_y = Taps::new(rows, height, shown.y..shown.y + shown.height);
    let width = shown.width as usize;
    let length = width * 3;
    let mut lines = [(usize::MAX, vec![0_i16; length]), (usize::MAX, vec![0_i16; length])];
    for target in 0..shown.height as usize {
        let (above, below) = (along_y.first[target], along_y.second[target]);
        if lines[0].0 != above && lines[1].0 == above {
            lines.swap(0, 1);
        }
        for (line, wanted) in lines.iter_mut().zip([above, below]) {
            if line.0 != wanted {
                let source = image.row(y + wanted as u32);
                interpolate_row(&source[x as usize * 3..(x + columns) as usize * 3], &along_x, &mut line.1);
                line.0 = wanted;
            }
        }
        let weights = along_y.weight[target];
        emit(target, &Row { above: &lines[0].1, below: &lines[1].1, weights, width });
    }
}

/// One source row at the target's columns as three planes, with 7 of the weight's 11 bits left so that it fits 16
/// bits.
fn interpolate_row(row: &[u8], taps: &Taps, out: &mut [i16]) {
    let columns = taps.first.iter().zip(&taps.second).zip(&taps.weight);
    let (red, rest) = out.split_at_mut(taps.first.len());
    let (green, blue) = rest.split_at_mut(taps.first.len());
    let targets = red.iter_mut().zip(green).zip(blue);
    for (((red, green), blue), ((&first, &second), &[a, b])) in targets.zip(columns) {
        let (p, q) = (&row[first * 3..first * 3 + 3], &row[second * 3..second * 3 + 3]);
        let mix = |c: usize| ((i32::from(a) * i32::from(p[c]) + i32::from(b) * i32::from(q[c])) >> 4) as i16;
        (*red, *green, *blue) = (mix(0), mix(1), mix(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
