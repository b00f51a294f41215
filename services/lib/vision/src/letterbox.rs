//! A picture, or a part of it, on a detector's canvas: aspect kept, black around it. Called by the detect stage with
//! the views that `views` proposes.

use crate::tensor::{ChannelOrder, Normalisation, TensorError, check_length};
use crate::{Detection, Rgb8, resize};

/// Part of a picture, in its pixels; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Region {
    /// All of a picture.
    #[must_use]
    pub fn whole(image: &Rgb8) -> Self {
        Self { x: 0, y: 0, width: image.width(), height: image.height() }
    }

    fn lies_in(&self, image: &Rgb8) -> bool {
        let inside =
            |start: u32, length: u32, most: u32| length > 0 && start.checked_add(length).is_some_and(|e| e <= most);
        inside(self.x, self.width, image.width()) && inside(self.y, self.height, image.height())
    }
}

/// Where a region of a picture lies on a canvas: its aspect kept, enlarged or reduced; black elsewhere. It may reach past
/// the canvas, which then shows a part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Letterbox {
    /// Canvas columns.
    pub canvas_width: u32,
    /// Canvas rows.
    pub canvas_height: u32,
    /// What of the picture is shown.
    pub region: Region,
    /// Column of the canvas at which the region begins; before the first where the canvas shows a part.
    pub left: i32,
    /// Row of the canvas at which the region begins.
    pub top: i32,
    /// Columns that the region takes, those that are not shown too.
    pub width: u32,
    /// Rows that the region takes, those that are not shown too.
    pub height: u32,
    /// Canvas pixels per picture pixel.
    pub scale: f32,
}

impl Letterbox {
    /// The largest fit of a `width × height` picture, at the top left. Canvas sides of zero become one.
    #[must_use]
    pub fn fit(width: u32, height: u32, canvas_width: u32, canvas_height: u32) -> Self {
        let region = Region { x: 0, y: 0, width: width.max(1), height: height.max(1) };
        let (canvas_width, canvas_height) = (canvas_width.max(1), canvas_height.max(1));
        let scales = [(canvas_width, region.width), (canvas_height, region.height)];
        let scale =
            scales.map(|(canvas, side)| f64::from(canvas) / f64::from(side)).into_iter().fold(f64::MAX, f64::min);
        Self::at_scale(region, scale, (canvas_width, canvas_height))
    }

    /// A region at a scale, at the top left of a canvas; what does not fit is squeezed in.
    #[must_use]
    pub(crate) fn at_scale(region: Region, scale: f64, (canvas_width, canvas_height): (u32, u32)) -> Self {
        let side = |length: u32, most: u32| ((f64::from(length) * scale).round_ties_even() as u32).clamp(1, most);
        Self {
            canvas_width,
            canvas_height,
            region,
            left: 0,
            top: 0,
            width: side(region.width, canvas_width),
            height: side(region.height, canvas_height),
            scale: scale as f32,
        }
    }

    /// The same with the region in the middle of the canvas.
    #[must_use]
    pub(crate) fn centred(self) -> Self {
        let middle = |canvas: u32, length: u32| ((canvas - length) / 2) as i32;
        Self { left: middle(self.canvas_width, self.width), top: middle(self.canvas_height, self.height), ..self }
    }

    /// A part of the canvas as a canvas of its own: pixel for pixel what the whole one holds there.
    #[must_use]
    pub(crate) fn part(self, part: Region) -> Self {
        Self {
            canvas_width: part.width,
            canvas_height: part.height,
            left: self.left - part.x as i32,
            top: self.top - part.y as i32,
            ..self
        }
    }

    /// A detection in canvas pixels, in pixels of the picture.
    #[must_use]
    pub fn to_image(&self, on_canvas: &Detection) -> Detection {
        let mut found = *on_canvas;
        let (b, s) = (&mut found.bounding_box, self.scale);
        let place = |value: f32, offset: i32, start: u32| (value - offset as f32) / s + start as f32;
        b.x = place(b.x, self.left, self.region.x);
        b.y = place(b.y, self.top, self.region.y);
        b.width /= s;
        b.height /= s;
        for point in &mut found.landmarks.0 {
            *point = [place(point[0], self.left, self.region.x), place(point[1], self.top, self.region.y)];
        }
        found
    }

    /// What of the resized region is on the canvas, and its first column and row there.
    pub(crate) fn shown(&self) -> Option<(Region, usize, usize)> {
        let axis = |start: i32, length: u32, canvas: u32| {
            let (start, end) = (i64::from(start), i64::from(start) + i64::from(length));
            let (from, to) = (start.max(0), end.min(i64::from(canvas)));
            (from < to).then(|| ((from - start) as u32, (to - from) as u32, from as usize))
        };
        let (x, width, left) = axis(self.left, self.width, self.canvas_width)?;
        let (y, height, top) = axis(self.top, self.height, self.canvas_height)?;
        Some((Region { x, y, width, height }, left, top))
    }

    fn check(&self, image: &Rgb8) -> Result<(Region, usize, usize), TensorError> {
        let shown = self.shown().filter(|_| self.region.lies_in(image));
        shown.ok_or(TensorError::Letterbox)
    }
}

/// The region on its canvas, 8-bit.
///
/// # Errors
/// [`TensorError::Letterbox`] for a region outside the picture, or one of which the canvas shows nothing.
pub fn letterbox(image: &Rgb8, fit: &Letterbox) -> Result<Rgb8, TensorError> {
    let (shown, left, top) = fit.check(image)?;
    let mut canvas = Rgb8::filled(fit.canvas_width, fit.canvas_height, [0; 3]);
    let stride = canvas.width() as usize * 3;
    let target = &mut canvas.data_mut()[top * stride + left * 3..];
    resize::for_each_row(image, fit.region, (fit.width, fit.height), shown, |y, row| {
        row.interleave(&mut target[y * stride..])
    });
    Ok(canvas)
}

/// The region on its canvas as a detector's input: three planes of `canvas_height × canvas_width` floats, normalised
/// (the black border too). Equal to [`letterbox`] followed by [`Normalisation::write_planar`], without the canvas.
///
/// # Errors
/// [`TensorError`] where `out` is not `3 × canvas_height × canvas_width` long, or nothing of the picture is to be
/// shown.
pub fn letterbox_tensor(
    image: &Rgb8,
    fit: &Letterbox,
    normalisation: &Normalisation,
    out: &mut [f32],
) -> Result<(), TensorError> {
    let (shown, left, top) = fit.check(image)?;
    let (stride, plane) = (fit.canvas_width as usize, fit.canvas_width as usize * fit.canvas_height as usize);
    check_length(plane * 3, out.len())?;
    let (width, height) = (shown.width as usize, shown.height as usize);
    for (channel, values) in out.chunks_exact_mut(plane).enumerate() {
        let border = normalisation.apply(channel, 0);
        values[..top * stride].fill(border);
        values[(top + height) * stride..].fill(border);
        for row in values[top * stride..(top + height) * stride].chunks_exact_mut(stride) {
            row[..left].fill(border);
            row[left + width..].fill(border);
        }
    }
    resize::for_each_row(image, fit.region, (fit.width, fit.height), shown, |y, row| {
        for channel in 0..3 {
            let sample = match normalisation.order {
                ChannelOrder::Rgb => channel,
                ChannelOrder::Bgr => 2 - channel,
            };
            let (mean, scale) = (normalisation.mean[channel], normalisation.scale[channel]);
            let target = &mut out[channel * plane + (top + y) * stride + left..][..width];
            row.each(sample, target.iter_mut(), |value, sample| *value = (f32::from(sample) - mean) * scale);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests;
