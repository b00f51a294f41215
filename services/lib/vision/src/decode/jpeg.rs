//! JPEG: header and completeness from our own walk over the markers, pixels from zune-jpeg in strict mode.
//! Called by `decode`.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{DecodeError, Header, ImageFormat, Orientation, exif};
use crate::Rgb8;

/// Scans of a progressive image. Encoders write some ten; each may cost a pass over every coefficient, so the most
/// that are followed depends on the picture's size: a hostile file takes a few seconds of work and not minutes.
const MAX_SCANS: std::ops::RangeInclusive<u64> = 15..=50;
/// Pixels × scans.
const MAX_SCANNED: u64 = 600_000_000;

/// Every block of 64 pixels costs at least one bit. A file that promises more was cut short or made to waste memory;
/// the decoder itself would fill the rest with grey.
const MAX_PIXELS_PER_BYTE: u64 = 8 * 64;

const APP1: u8 = 0xE1;
const SOS: u8 = 0xDA;
const EOI: u8 = 0xD9;

/// Size and orientation: walks the segments up to the frame header.
pub(super) fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let mut orientation = None;
    let mut segments = Segments { bytes, at: 2 };
    while let Some((marker, body)) = segments.next_segment() {
        match marker {
            APP1 if orientation.is_none() && body.starts_with(b"Exif\0\0") => {
                orientation = Some(exif::orientation(body));
            }
            0xC0..=0xC2 => {
                let header = frame(body, orientation.unwrap_or_default())?;
                let possible = bytes.len() as u64 * MAX_PIXELS_PER_BYTE;
                if u64::from(header.width) * u64::from(header.height) > possible {
                    return Err(damaged("it holds too little data for the size it gives"));
                }
                return Ok(header);
            }
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                return Err(DecodeError::Unsupported { found: "a JPEG with lossless or arithmetic coding" });
            }
            SOS | EOI => break,
            _ => {}
        }
    }
    Err(damaged("the file ends before its size is given"))
}

fn frame(body: &[u8], orientation: Orientation) -> Result<Header, DecodeError> {
    let [precision, h1, h0, w1, w0, ..] = *body else { return Err(damaged("its frame header is cut off")) };
    if precision != 8 {
        return Err(DecodeError::Unsupported { found: "a JPEG of more than 8 bits a channel" });
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    Ok(Header { width: width.into(), height: height.into(), orientation })
}

/// Decodes to RGB. The caller has checked the limits; `pixels` is the number the header gives.
pub(super) fn pixels(bytes: &[u8], pixels: u64) -> Result<Rgb8, DecodeError> {
    // The decoder is lenient about a missing end, so completeness is settled here; what follows the end is cut off.
    let end = end_of_image(bytes).ok_or_else(|| damaged("it is cut off before its end"))?;
    let scans = (MAX_SCANNED / pixels.max(1)).clamp(*MAX_SCANS.start(), *MAX_SCANS.end());
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(scans as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes[..end]), options);
    let data = decoder.decode().map_err(|error| match error {
        DecodeErrors::Unsupported(_) => DecodeError::Unsupported { found: "this kind of JPEG" },
        other => damaged(other.to_string().trim_matches('"')),
    })?;
    let info = decoder.info().ok_or_else(|| damaged("it has no frame header"))?;
    Rgb8::new(info.width.into(), info.height.into(), data).ok_or_else(|| damaged("its size is contradictory"))
}

/// Index just past the end marker of the first image, skipping segments (whose thumbnails have ends of their own)
/// and entropy-coded data (where a marker is 0xFF with neither a stuffed zero nor a restart number after it).
fn end_of_image(bytes: &[u8]) -> Option<usize> {
    let mut segments = Segments { bytes, at: 2 };
    loop {
        match segments.next_segment()? {
            (EOI, _) => return Some(segments.at),
            (SOS, _) => segments.skip_entropy()?,
            _ => {}
        }
    }
}

/// Marker segments in order.
struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// The next marker and the body of its segment; `None` at a cut-off or senseless place.
    fn next_segment(&mut self) -> Option<(u8, &'a [u8])> {
        // Some writers leave stray bytes between segments; as others do, look for the next marker.
        let marker = loop {
            let skip = self.bytes.get(self.at..)?.iter().position(|&b| b == 0xFF)?;
            self.at += skip + 1;
            while *self.bytes.get(self.at)? == 0xFF {
                self.at += 1;
            }
            let marker = *self.bytes.get(self.at)?;
            self.at += 1;
            if marker != 0 {
                break marker;
            }
        };
        if matches!(marker, 0x01 | 0xD0..=0xD9) {
            return Some((marker, &[]));
        }
        let length = usize::from(u16::from_be_bytes(self.bytes.get(self.at..self.at + 2)?.try_into().ok()?));
        let body = self.bytes.get(self.at + 2..self.at.checked_add(length)?)?;
        self.at += length;
        Some((marker, body))
    }

    /// Moves to the marker that ends the entropy-coded data.
    fn skip_entropy(&mut self) -> Option<()> {
        loop {
            self.at += self.bytes.get(self.at..)?.iter().position(|&b| b == 0xFF)?;
            match *self.bytes.get(self.at + 1)? {
                0 | 0xD0..=0xD7 => self.at += 2,
                0xFF => self.at += 1,
                _ => return Some(()),
            }
        }
    }
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::damaged(ImageFormat::Jpeg, reason)
}
