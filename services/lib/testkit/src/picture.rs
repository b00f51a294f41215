//! Pictures made in code: crops, scaled, brightened and mirrored versions of photos, canvases, and PNG headers that
//! promise more than they hold.

use bytes::Bytes;
use vision::{Limits, Rgb8};

/// A decoded picture that can be changed and written as PNG.
#[derive(Clone, Debug)]
pub struct Picture(Rgb8);

impl Picture {
    /// One colour.
    #[must_use]
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        Self(Rgb8::filled(width, height, colour))
    }

    /// Decodes an encoded picture.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let limits = Limits { max_bytes: 64 << 20, max_pixels: 100_000_000, max_side: 32_768 };
        Self(vision::decode(bytes, &limits).expect("a test's own picture can be decoded"))
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.0.width(), self.0.height())
    }

    /// The pixels.
    #[must_use]
    pub fn pixels(&self) -> &Rgb8 {
        &self.0
    }

    /// Another size.
    #[must_use]
    pub fn resized(&self, width: u32, height: u32) -> Self {
        Self(vision::resize(&self.0, width, height))
    }

    /// The same with the longer side at most this long.
    #[must_use]
    pub fn at_most(&self, side: u32) -> Self {
        let (w, h) = self.size();
        let longer = w.max(h);
        if longer <= side {
            return self.clone();
        }
        let scaled = |n: u32| u32::try_from(u64::from(n) * u64::from(side) / u64::from(longer)).unwrap_or(1).max(1);
        self.resized(scaled(w), scaled(h))
    }

    /// A part; what lies outside is black.
    #[must_use]
    pub fn cropped(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        Self::from_fn(width, height, |i, j| self.0.pixel(x + i, y + j))
    }

    /// Left and right exchanged.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let (w, h) = self.size();
        Self::from_fn(w, h, |x, y| self.0.pixel(w - 1 - x, y))
    }

    /// Red and blue exchanged.
    #[must_use]
    pub fn red_blue_swapped(&self) -> Self {
        self.each(|[r, g, b]| [b, g, r])
    }

    /// Every value times `gain`, cut off at white.
    #[must_use]
    pub fn brightened(&self, gain: f32) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
        self.each(|p| p.map(|v| (f32::from(v) * gain).clamp(0.0, 255.0) as u8))
    }

    /// Both side by side on black.
    #[must_use]
    pub fn beside(&self, right: &Self) -> Self {
        let ((w, h), (w2, h2)) = (self.size(), right.size());
        Self::from_fn(w + w2, h.max(h2), |x, y| if x < w { self.0.pixel(x, y) } else { right.0.pixel(x - w, y) })
    }

    /// As PNG, 8-bit RGB.
    #[must_use]
    pub fn png(&self) -> Bytes {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.0.width(), self.0.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header().expect("a PNG header");
        writer.write_image_data(self.0.data()).expect("PNG data");
        writer.finish().expect("the end of a PNG");
        out.into()
    }

    fn each(&self, f: impl Fn([u8; 3]) -> [u8; 3]) -> Self {
        let (w, h) = self.size();
        Self::from_fn(w, h, |x, y| f(self.0.pixel(x, y)))
    }

    fn from_fn(width: u32, height: u32, f: impl Fn(u32, u32) -> [u8; 3]) -> Self {
        let points = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let data: Vec<u8> = points.flat_map(|(x, y)| f(x, y)).collect();
        Self(Rgb8::new(width, height, data).expect("a picture has pixels"))
    }
}

/// A PNG of a few bytes whose header promises `width` × `height` RGB pixels, and whose data are four empty rows at
/// most: to decode it is to have believed the header.
#[must_use]
pub fn png_header_only(width: u32, height: u32) -> Bytes {
    let small = Picture::filled(1, 1, [0; 3]).png();
    let mut out = small.to_vec();
    // Signature (8), length (4), "IHDR" (4), width, height, five bytes, checksum.
    out[16..20].copy_from_slice(&width.to_be_bytes());
    out[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32(&out[12..29]);
    out[29..33].copy_from_slice(&sum.to_be_bytes());
    out.into()
}

/// The checksum of PNG chunks (ISO/IEC 15948, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, b| (0..8).fold(crc ^ u32::from(*b), |c, _| step(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let p = Picture::filled(7, 5, [10, 20, 30]).beside(&Picture::filled(3, 2, [200, 0, 0]));
        let again = Picture::decode(&p.png());
        assert_eq!(again.pixels(), p.pixels());
        assert_eq!(again.size(), (10, 5));
        assert_eq!(again.mirrored().pixels().pixel(0, 0), [200, 0, 0]);
        assert_eq!(again.red_blue_swapped().pixels().pixel(0, 0), [30, 20, 10]);
    }

    #[test]
    fn a_header_alone_promises_its_pixels() {
        let bytes = png_header_only(30_000, 20_000);
        let limits = Limits { max_bytes: 1 << 20, max_pixels: u64::MAX, max_side: u32::MAX };
        let info = vision::probe(&bytes, &limits).unwrap();
        assert_eq!((info.width, info.height), (30_000, 20_000));
    }
}
