//! WebP: header and container from our own walk over the chunks, pixels from image-webp. Called by `decode`.
//! The codec gets the one still bitstream in a container of our own, so that size, animation and alpha are settled
//! here; alpha is dropped as for PNG.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{DecodeError, Header, ImageFormat, Orientation, exif};
use crate::Rgb8;

const ANIMATION_FLAG: u8 = 0x02;

/// Size and orientation.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    parse(bytes).map(|still| still.header)
}

/// Decodes to RGB. The caller has checked the limits.
pub(super) fn pixels(bytes: &[u8]) -> Result<Rgb8, DecodeError> {
    let still = parse(bytes)?;
    let container = simple_container(still.kind, still.bitstream);
    let mut decoder = WebPDecoder::new(Cursor::new(container.as_slice())).map_err(|e| damaged(&e.to_string()))?;
    let (width, height) = decoder.dimensions();
    if (width, height) != (still.header.width, still.header.height) {
        return Err(damaged("its size is contradictory"));
    }
    let mut data = vec![0; decoder.output_buffer_size().ok_or_else(|| damaged("its size is senseless"))?];
    decoder.read_image(&mut data).map_err(|e| damaged(&e.to_string()))?;
    if decoder.has_alpha() {
        drop_alpha(&mut data);
    }
    Rgb8::new(width, height, data).ok_or_else(|| damaged("its size is contradictory"))
}

/// Closes the gaps of RGBA in place.
fn drop_alpha(data: &mut Vec<u8>) {
    let count = data.len() / 4;
    for i in 0..count {
        data.copy_within(i * 4..i * 4 + 3, i * 3);
    }
    data.truncate(count * 3);
}

/// The still picture of a file.
struct Still<'a> {
    header: Header,
    kind: [u8; 4],
    bitstream: &'a [u8],
}

fn parse(bytes: &[u8]) -> Result<Still<'_>, DecodeError> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let (mut canvas, mut orientation, mut picture) = (None, Orientation::Upright, None);
    while let Some((kind, tail)) = rest.split_first_chunk::<4>() {
        let Some((length, tail)) = tail.split_first_chunk::<4>() else { break };
        let length = u32::from_le_bytes(*length) as usize;
        let body = tail.get(..length);
        match (kind, body) {
            (b"ANIM" | b"ANMF", _) => return Err(animated()),
            (b"VP8X", Some([flags, ..])) if flags & ANIMATION_FLAG != 0 => return Err(animated()),
            (b"VP8X", Some([_, _, _, _, w0, w1, w2, h0, h1, h2, ..])) => {
                let side = |a: &u8, b: &u8, c: &u8| u32::from_le_bytes([*a, *b, *c, 0]) + 1;
                canvas = Some((side(w0, w1, w2), side(h0, h1, h2)));
            }
            (b"VP8 " | b"VP8L", Some(body)) if picture.is_none() => picture = Some((*kind, body)),
            (b"EXIF", Some(body)) => orientation = exif::orientation(body),
            (b"VP8 " | b"VP8L", None) => return Err(damaged("it is cut off before its end")),
            _ => {}
        }
        // Chunks are padded to an even length.
        rest = tail.get(length.saturating_add(length & 1)..).unwrap_or_default();
    }
    let (kind, bitstream) = picture.ok_or_else(|| damaged("it holds no picture"))?;
    let (width, height) = size(&kind, bitstream).ok_or_else(|| damaged("its picture's header is broken"))?;
    if canvas.is_some_and(|c| c != (width, height)) {
        return Err(damaged("its picture has another size than its canvas"));
    }
    Ok(Still { header: Header { width, height, orientation }, kind, bitstream })
}

/// Size from the bitstream: 14 bits a side in both kinds.
fn size(kind: &[u8; 4], bitstream: &[u8]) -> Option<(u32, u32)> {
    if kind == b"VP8L" {
        let [0x2F, a, b, c, d, ..] = *bitstream else { return None };
        let bits = u32::from_le_bytes([a, b, c, d]);
        return Some(((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1));
    }
    let [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..] = *bitstream else { return None };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    Some((side(w0, w1), side(h0, h1)))
}

/// A file with nothing but this bitstream.
fn simple_container(kind: [u8; 4], bitstream: &[u8]) -> Vec<u8> {
    // A bitstream comes from a chunk whose length fits 32 bits.
    let length = u32::try_from(bitstream.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(bitstream.len() + 21);
    out.extend(b"RIFF");
    out.extend((length.saturating_add(12 + (length & 1))).to_le_bytes());
    out.extend(b"WEBP");
    out.extend(kind);
    out.extend(length.to_le_bytes());
    out.extend(bitstream);
    out.resize(out.len() + (bitstream.len() & 1), 0);
    out
}

fn animated() -> DecodeError {
    DecodeError::Unsupported { found: "an animated WebP image" }
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::damaged(ImageFormat::Webp, reason)
}
