//! Pixels to PNG, without loss: for reports and contact sheets, and for the aligned faces that a collection retains for
//! training, which are sealed before they are written. The only encoder: no picture is kept as it was sent.

use crate::Rgb8;

/// A picture as PNG, 8-bit RGB.
///
/// # Errors
/// Never for a picture that fits in memory twice; the encoder's own word otherwise.
pub fn encode_png(picture: &Rgb8) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(picture.data())?;
        writer.finish()
    });
    written.map_err(|e| format!("the picture cannot be written as PNG: {e}"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, decode};

    #[test]
    fn what_is_written_is_read_again() {
        let pixels: Vec<u8> = (0..7 * 5 * 3).map(|i| (i * 37 % 256) as u8).collect();
        let picture = Rgb8::new(7, 5, pixels).unwrap();
        let limits = Limits { max_bytes: 1 << 16, max_pixels: 1 << 10, max_side: 100 };
        assert_eq!(decode(&encode_png(&picture).unwrap(), &limits).unwrap(), picture);
    }
}
