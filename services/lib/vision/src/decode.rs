//! Encoded bytes to an upright picture, under limits read from the header before a pixel is decoded.
//! The gateway calls `probe`, the worker's decode stage calls `decode`. Everything here is hostile input.

mod error;
mod exif;
mod jpeg;
mod orient;
mod png;
mod webp;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use error::DecodeError;
pub use orient::Orientation;

use crate::Rgb8;

/// What an image may cost. Checked against the header, before any pixel is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Width × height.
    pub max_pixels: u64,
    /// Longer side in pixels.
    pub max_side: u32,
}

impl Default for Limits {
    /// The documented service defaults: 10 MiB, 40 megapixels, 16,384 pixels a side.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_pixels: 40_000_000, max_side: 16_384 }
    }
}

/// Encodings this service reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageFormat {
    /// JPEG: baseline, extended 8-bit or progressive; grey, YCbCr, RGB, CMYK, YCCK.
    Jpeg,
    /// PNG of any colour type and depth.
    Png,
    /// WebP, lossy or lossless, not animated.
    Webp,
}

impl ImageFormat {
    /// The format, by content; `None` for anything this service does not read.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Self::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            _ => None,
        }
    }

    /// Media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Webp => "WebP",
        })
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Encoding, by content.
    pub format: ImageFormat,
    /// Columns of the upright picture.
    pub width: u32,
    /// Rows of the upright picture.
    pub height: u32,
    /// How the stored pixels lie; `decode` has undone it.
    pub orientation: Orientation,
}

/// What each format's header reader gives: the size as stored and the EXIF orientation.
struct Header {
    width: u32,
    height: u32,
    orientation: Orientation,
}

/// Reads the header alone and checks the limits. Costs microseconds and no memory.
///
/// # Errors
/// [`DecodeError::Empty`], [`DecodeError::TooManyBytes`], [`DecodeError::Unsupported`], [`DecodeError::TooLarge`],
/// or [`DecodeError::Damaged`] where the header itself is broken.
pub fn probe(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() > limits.max_bytes {
        return Err(DecodeError::TooManyBytes { bytes: bytes.len(), limit: limits.max_bytes });
    }
    let format = ImageFormat::sniff(bytes).ok_or_else(|| DecodeError::Unsupported { found: error::name_of(bytes) })?;
    let header = match format {
        ImageFormat::Jpeg => jpeg::header(bytes)?,
        ImageFormat::Png => png::header(bytes)?,
        ImageFormat::Webp => webp::header(bytes)?,
    };
    if header.width == 0 || header.height == 0 {
        return Err(DecodeError::damaged(format, "its header gives a side of zero pixels"));
    }
    let (width, height) = header.orientation.upright_size(header.width, header.height);
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels || width.max(height) > limits.max_side {
        let (max_pixels, max_side) = (limits.max_pixels, limits.max_side);
        return Err(DecodeError::TooLarge { width, height, max_pixels, max_side });
    }
    Ok(ImageInfo { format, width, height, orientation: header.orientation })
}

/// Decodes to an upright picture. Memory is bounded by the limits: three bytes a pixel for the picture, at most
/// about six more while a progressive JPEG or an interlaced or lossless image is being read.
///
/// # Errors
/// Those of [`probe`], and [`DecodeError::Damaged`] for a truncated or broken image.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Rgb8, DecodeError> {
    let info = probe(bytes, limits)?;
    // The codecs are memory-safe, but an index out of range in one of them must not take a worker down.
    let stored = catch_unwind(AssertUnwindSafe(|| match info.format {
        ImageFormat::Jpeg => jpeg::pixels(bytes, u64::from(info.width) * u64::from(info.height)),
        ImageFormat::Png => png::pixels(bytes),
        ImageFormat::Webp => webp::pixels(bytes),
    }))
    .unwrap_or_else(|_| Err(DecodeError::damaged(info.format, "its data makes no sense")))?;
    Ok(info.orientation.apply(stored))
}

#[cfg(test)]
mod tests;
