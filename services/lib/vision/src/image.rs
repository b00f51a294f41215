//! The one picture type: interleaved 8-bit RGB, upright. Made by `decode`, `letterbox` and `align`.

/// Upright picture, 8-bit RGB interleaved by rows, at least one pixel. The length of the data always equals
/// `width × height × 3`, so code that reads it cannot run past the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8 {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl Rgb8 {
    /// A picture from its pixels; `None` where the length is not `width × height × 3` or a side is zero.
    #[must_use]
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        let wanted = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (width > 0 && height > 0 && data.len() == wanted).then_some(Self { width, height, data })
    }

    /// A picture of one colour. A zero side becomes one pixel.
    #[must_use]
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        Self { width, height, data: colour.repeat(width as usize * height as usize) }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Pixels: `height` rows of `width` RGB triples.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Pixels, to be changed in place.
    #[must_use]
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The pixels, without a copy.
    #[must_use]
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// One row of RGB triples; empty past the last row.
    #[must_use]
    pub fn row(&self, y: u32) -> &[u8] {
        let stride = self.width as usize * 3;
        self.data.get(y as usize * stride..(y as usize + 1) * stride).unwrap_or_default()
    }

    /// One pixel; black outside the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        match self.row(y).get(x as usize * 3..x as usize * 3 + 3) {
            Some([r, g, b]) => [*r, *g, *b],
            _ => [0; 3],
        }
    }
}

impl std::fmt::Debug for Rgb8 {
    /// The size alone: pixels are biometric data and never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb8({}x{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_must_fit_and_debug_shows_no_pixels() {
        assert!(Rgb8::new(2, 1, vec![1; 6]).is_some());
        assert!(Rgb8::new(2, 1, vec![1; 5]).is_none());
        assert!(Rgb8::new(0, 1, vec![]).is_none());
        assert!(Rgb8::new(u32::MAX, u32::MAX, vec![]).is_none());
        assert_eq!(format!("{:?}", Rgb8::filled(3, 2, [7, 8, 9])), "Rgb8(3x2)");
        assert_eq!(Rgb8::filled(3, 2, [7, 8, 9]).pixel(2, 1), [7, 8, 9]);
        assert_eq!(Rgb8::filled(3, 2, [7, 8, 9]).pixel(3, 1), [0; 3]);
    }
}
