//! What hides a face or disturbs its pixels: a rectangle, a cover over mouth and chin, noise. Called by `Drawn::apply`.

use super::colour;
use crate::{Random, Rgb8};

/// Narrowest and widest rectangle: width by height.
const SHAPES: [f32; 2] = [0.5, 2.0];

/// A rectangle of one colour, in pixels, inside the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

impl Rectangle {
    /// Of this share of a square picture's area up to whole pixels, of any place and shape.
    pub(super) fn drawn(area: f32, side: u32, random: &mut Random) -> Self {
        let (whole, shape) = (side as f32, random.within(SHAPES));
        let width = (whole * (area * shape).sqrt()).round().clamp(1.0, whole);
        let height = (area * whole * whole / width).round().clamp(0.0, whole);
        let (width, height) = (width as u32, height as u32);
        let mut place = |length: u32| random.below((side - length + 1) as usize) as u32;
        Self { x: place(width), y: place(height), width, height, colour: colour(random) }
    }

    pub(super) fn apply(&self, picture: &mut Rgb8) {
        let stride = picture.width() as usize * 3;
        let (from, to) = (self.x as usize * 3, (self.x + self.width) as usize * 3);
        let rows = picture.data_mut().chunks_exact_mut(stride).skip(self.y as usize).take(self.height as usize);
        for row in rows {
            row[from..to].as_chunks_mut::<3>().0.fill(self.colour);
        }
    }
}

/// A mask over the lower face: its upper edge falls off to the sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Cover {
    /// Where it begins in the middle, as a share of the side from the top.
    pub from: f32,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// Half the width of a cover, and how much lower its edge is there; shares of the side.
const HALF_WIDTH: f32 = 0.4;
const FALL: f32 = 0.08;

impl Cover {
    pub(super) fn apply(&self, picture: &mut Rgb8) {
        let (width, height) = (picture.width() as usize, picture.height() as f32);
        for (y, row) in picture.data_mut().chunks_exact_mut(width * 3).enumerate() {
            for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let aside = ((x as f32 + 0.5) / width as f32 - 0.5).abs() / HALF_WIDTH;
                let edge = self.from + FALL * aside * aside;
                if aside <= 1.0 && (y as f32 + 0.5) / height >= edge {
                    *pixel = self.colour;
                }
            }
        }
    }
}

/// Gaussian noise on every value; `sigma` is a share of 255.
pub(super) fn noise(picture: &mut Rgb8, sigma: f32, random: &mut Random) {
    let deviation = sigma * 255.0;
    for two in picture.data_mut().chunks_mut(2) {
        for (value, n) in two.iter_mut().zip(random.normals()) {
            *value = (f32::from(*value) + deviation * n).round().clamp(0.0, 255.0) as u8;
        }
    }
}

/// So many of the pixels, up to one, become black or white, half and half.
pub(super) fn salt_and_pepper(picture: &mut Rgb8, share: f32, random: &mut Random) {
    let pixels = picture.data_mut().as_chunks_mut::<3>().0;
    let hit = (share * pixels.len() as f32).round() as usize;
    // The first so many of a random order: each pixel at most once.
    let mut order: Vec<usize> = (0..pixels.len()).collect();
    for i in 0..hit.min(order.len()) {
        let other = i + random.below(order.len() - i);
        order.swap(i, other);
        pixels[order[i]] = [if i % 2 == 0 { 0 } else { 255 }; 3];
    }
}
