//! PNG: header from our own walk over the chunks, pixels from the png crate. Called by `decode`.
//! 16 bits a channel become 8 by their high byte, alpha is dropped and not composited: both as OpenCV's colour
//! reader does, which the reference pipeline uses.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits as PngLimits, Reader, Transformations};

use super::{DecodeError, Header, ImageFormat, Orientation, exif};
use crate::Rgb8;

/// Memory the codec may use besides the picture: rows and small chunks.
const CODEC_BYTES: usize = 16 << 20;

/// Size from `IHDR`, orientation from an `eXIf` chunk before or after the pixels.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut chunks = Chunks { rest: bytes.get(8..).unwrap_or_default() };
    let Some((b"IHDR", [w3, w2, w1, w0, h3, h2, h1, h0, ..])) = chunks.next() else {
        return Err(damaged("its header is missing or cut off"));
    };
    let width = u32::from_be_bytes([*w3, *w2, *w1, *w0]);
    let height = u32::from_be_bytes([*h3, *h2, *h1, *h0]);
    let orientation =
        chunks.find(|(kind, _)| *kind == b"eXIf").map_or(Orientation::Upright, |c| exif::orientation(c.1));
    Ok(Header { width, height, orientation })
}

/// Decodes to RGB. The caller has checked the limits. Of an animated PNG, the still picture.
pub(super) fn pixels(bytes: &[u8]) -> Result<Rgb8, DecodeError> {
    if !(Chunks { rest: bytes.get(8..).unwrap_or_default() }).any(|(kind, _)| kind == b"IEND") {
        return Err(damaged("it is cut off before its end"));
    }
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), PngLimits { bytes: CODEC_BYTES });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| damaged(&e.to_string()))?;
    let (width, height) = (reader.info().width, reader.info().height);
    let wanted = width as usize * height as usize * 3;
    let mut data = Vec::with_capacity(wanted);
    let samples = reader.output_color_type().0.samples();
    if reader.info().interlaced {
        let mut frame = vec![0; reader.output_buffer_size().ok_or_else(|| damaged("its size is senseless"))?];
        reader.next_frame(&mut frame).map_err(|e| damaged(&e.to_string()))?;
        append_rgb(&frame, samples, &mut data);
    } else {
        rows(&mut reader, samples, &mut data)?;
    }
    // Fewer rows than the header promises would be a broken animation header.
    Rgb8::new(width, height, data).ok_or_else(|| damaged("it holds another number of pixels than its header says"))
}

fn rows(reader: &mut Reader<Cursor<&[u8]>>, samples: usize, data: &mut Vec<u8>) -> Result<(), DecodeError> {
    for _ in 0..reader.info().height {
        match reader.next_row().map_err(|e| damaged(&e.to_string()))? {
            Some(row) => append_rgb(row.data(), samples, data),
            None => break,
        }
    }
    Ok(())
}

/// Appends 8-bit samples as RGB; `samples` is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGB, alpha).
fn append_rgb(row: &[u8], samples: usize, data: &mut Vec<u8>) {
    debug_assert!(samples <= ColorType::Rgba.samples());
    match samples {
        1 => data.extend(row.iter().flat_map(|&g| [g; 3])),
        2 => data.extend(row.chunks_exact(2).flat_map(|p| [p[0]; 3])),
        3 => data.extend_from_slice(row),
        _ => data.extend(row.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]])),
    }
}

/// Chunks in order: kind and body. Ends at a cut-off chunk.
struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (&'a [u8; 4], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let body = rest.get(..length)?;
        self.rest = rest.get(length.checked_add(4)?..).unwrap_or_default();
        Some((kind, body))
    }
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::damaged(ImageFormat::Png, reason)
}
