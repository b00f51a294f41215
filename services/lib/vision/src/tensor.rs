//! 8-bit pictures to a network's input planes. Called by the detect and embed stages. The constants come from a
//! model's manifest; there is no other copy of them.

use std::str::FromStr;

use domain::ErrorCode;

use crate::Rgb8;

/// Order of a network's input planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

impl FromStr for ChannelOrder {
    type Err = TensorError;

    /// `rgb` or `bgr`, in any case.
    fn from_str(name: &str) -> Result<Self, TensorError> {
        match name.to_ascii_lowercase().as_str() {
            "rgb" => Ok(Self::Rgb),
            "bgr" => Ok(Self::Bgr),
            _ => Err(TensorError::UnknownOrder(name.to_owned())),
        }
    }
}

/// What a network expects of a sample `x` in 0..=255: `(x − mean) × scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Order of the planes.
    pub order: ChannelOrder,
    /// Subtracted first; in the order of the planes.
    pub mean: [f32; 3],
    /// Multiplied with after that; in the order of the planes.
    pub scale: [f32; 3],
}

impl Normalisation {
    /// Samples as they are, 0..=255.
    #[must_use]
    pub const fn identity(order: ChannelOrder) -> Self {
        Self { order, mean: [0.0; 3], scale: [1.0; 3] }
    }

    /// Value of a sample in plane `channel` (0 to 2).
    pub(crate) fn apply(&self, channel: usize, sample: u8) -> f32 {
        (f32::from(sample) - self.mean[channel]) * self.scale[channel]
    }

    /// Writes a picture as three planes of `height × width` floats.
    ///
    /// # Errors
    /// [`TensorError::Length`] where `out` is not `3 × height × width` long.
    pub fn write_planar(&self, image: &Rgb8, out: &mut [f32]) -> Result<(), TensorError> {
        let plane = image.width() as usize * image.height() as usize;
        check_length(plane * 3, out.len())?;
        self.write_row(image.data(), 0, plane, out);
        Ok(())
    }

    /// Writes RGB triples at `start` of each of the three planes of `plane` floats.
    pub(crate) fn write_row(&self, row: &[u8], start: usize, plane: usize, out: &mut [f32]) {
        for channel in 0..3 {
            let sample = match self.order {
                ChannelOrder::Rgb => channel,
                ChannelOrder::Bgr => 2 - channel,
            };
            let (mean, scale) = (self.mean[channel], self.scale[channel]);
            let target = &mut out[channel * plane + start..][..row.len() / 3];
            for (value, pixel) in target.iter_mut().zip(row.chunks_exact(3)) {
                *value = (f32::from(pixel[sample]) - mean) * scale;
            }
        }
    }
}

/// A tensor that does not fit, or a description of one that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The buffer has another length than the picture needs.
    #[error("a tensor of {expected} values is needed, the buffer has {actual}")]
    Length {
        /// Values needed.
        expected: usize,
        /// Values there.
        actual: usize,
    },
    /// A region that is not in the picture, or not on the canvas.
    #[error("a letterbox reaches past its picture or its canvas")]
    Letterbox,
    /// Neither `rgb` nor `bgr`.
    #[error("unknown channel order `{0}`; use `rgb` or `bgr`")]
    UnknownOrder(String),
}

impl TensorError {
    /// The code a caller sees: a defect of the service or of a manifest, never of a request.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::Internal
    }
}

pub(crate) fn check_length(expected: usize, actual: usize) -> Result<(), TensorError> {
    if expected == actual { Ok(()) } else { Err(TensorError::Length { expected, actual }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_follow_the_order_with_mean_and_scale_in_it() {
        let image = Rgb8::new(2, 1, vec![10, 20, 30, 40, 50, 60]).unwrap();
        let mut out = [0.0; 6];
        Normalisation::identity(ChannelOrder::Rgb).write_planar(&image, &mut out).unwrap();
        assert_eq!(out, [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);
        let how = Normalisation { order: ChannelOrder::Bgr, mean: [30.0, 0.0, 0.0], scale: [1.0, 0.1, 2.0] };
        how.write_planar(&image, &mut out).unwrap();
        assert_eq!(out, [0.0, 30.0, 2.0, 5.0, 20.0, 80.0]);
        assert_eq!(how.write_planar(&image, &mut out[..5]), Err(TensorError::Length { expected: 6, actual: 5 }));
    }

    #[test]
    fn order_names() {
        assert_eq!("BGR".parse(), Ok(ChannelOrder::Bgr));
        assert!("grb".parse::<ChannelOrder>().is_err());
    }
}
