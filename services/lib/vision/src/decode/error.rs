//! Why an image was refused, in words a person can act on. Used by every file of `decode`.

use domain::ErrorCode;

use super::ImageFormat;

/// Why an image was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the image is empty (0 bytes); send the file's content")]
    Empty,
    /// More encoded bytes than allowed.
    #[error("the image has {bytes} bytes, {limit} are allowed; send a smaller or more strongly compressed image")]
    TooManyBytes {
        /// Bytes received.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not a format, or a kind of it, that this service reads.
    #[error("{found} is not supported; send a JPEG, PNG or still WebP image")]
    Unsupported {
        /// What was found, by content.
        found: &'static str,
    },
    /// More pixels than allowed, by the header.
    #[error(
        "the image has {width}x{height} pixels; {max_pixels} in all and {max_side} a side are allowed: send it scaled down"
    )]
    TooLarge {
        /// Columns of the upright picture.
        width: u32,
        /// Rows of the upright picture.
        height: u32,
        /// Pixels allowed.
        max_pixels: u64,
        /// Pixels allowed along the longer side.
        max_side: u32,
    },
    /// Truncated or broken.
    #[error("the {format} image cannot be decoded: {reason}; send the original file again")]
    Damaged {
        /// Encoding, by content.
        format: ImageFormat,
        /// What is wrong.
        reason: String,
    },
}

impl DecodeError {
    /// The code a caller sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Empty => ErrorCode::InvalidRequest,
            Self::TooManyBytes { .. } => ErrorCode::PayloadTooLarge,
            Self::Unsupported { .. } => ErrorCode::UnsupportedMediaType,
            Self::TooLarge { .. } => ErrorCode::ImageTooLarge,
            Self::Damaged { .. } => ErrorCode::ImageUndecodable,
        }
    }

    /// A [`DecodeError::Damaged`].
    pub(super) fn damaged(format: ImageFormat, reason: impl Into<String>) -> Self {
        Self::Damaged { format, reason: reason.into() }
    }
}

/// A name for content that is not read, so that the message can say what it was.
pub(super) fn name_of(bytes: &[u8]) -> &'static str {
    match bytes {
        [b'G', b'I', b'F', b'8', ..] => "a GIF image",
        [b'B', b'M', ..] => "a BMP image",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "a TIFF image",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', b'f', ..] => "an AVIF image",
        [_, _, _, _, b'f', b't', b'y', b'p', b'h', b'e' | b'i', ..] => "a HEIC image",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "a video",
        _ if bytes.iter().take(64).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => "text",
        _ => "this kind of content",
    }
}
