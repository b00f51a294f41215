//! The one EXIF tag that matters here, orientation, from a TIFF block. Used by the three format readers.

use super::Orientation;

const ORIENTATION_TAG: u16 = 0x0112;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// Orientation from an EXIF block, with or without its `Exif\0\0` prefix. Upright where it is absent, out of range
/// or the block is broken: a damaged tag is no reason to refuse a picture.
pub(super) fn orientation(block: &[u8]) -> Orientation {
    let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    first_directory(tiff).unwrap_or_default()
}

fn first_directory(tiff: &[u8]) -> Option<Orientation> {
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let b = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(b) } else { u16::from_be_bytes(b) })
    };
    let u32_at = |at: usize| {
        let b = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) })
    };
    let directory = u32_at(4)? as usize;
    let entries = usize::from(u16_at(directory)?);
    for entry in 0..entries {
        let at = directory.checked_add(2 + entry * 12)?;
        if u16_at(at)? != ORIENTATION_TAG {
            continue;
        }
        let value = match u16_at(at + 2)? {
            SHORT => u32::from(u16_at(at + 8)?),
            LONG => u32_at(at + 8)?,
            _ => return None,
        };
        return Orientation::from_exif(value);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(little: bool, kind: u16, value: u16) -> Vec<u8> {
        let w16 = |v: u16| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let w32 = |v: u32| if little { v.to_le_bytes() } else { v.to_be_bytes() };
        let mut out = if little { b"Exif\0\0II".to_vec() } else { b"Exif\0\0MM".to_vec() };
        out.extend(w16(42));
        out.extend(w32(8));
        out.extend(w16(1));
        out.extend(w16(ORIENTATION_TAG));
        out.extend(w16(kind));
        out.extend(w32(1));
        if kind == SHORT {
            out.extend(w16(value));
            out.extend([0; 2]);
        } else {
            out.extend(w32(value.into()));
        }
        out
    }

    #[test]
    fn reads_both_byte_orders_and_integer_kinds() {
        for little in [true, false] {
            for kind in [SHORT, LONG] {
                for value in 1..=8 {
                    assert_eq!(orientation(&block(little, kind, value)).exif(), value as u8);
                }
            }
        }
    }

    #[test]
    fn anything_broken_means_upright() {
        let good = block(true, SHORT, 6);
        for cut in 0..good.len() - 2 {
            assert_eq!(orientation(&good[..cut]).exif(), 1, "cut at {cut}");
        }
        assert_eq!(orientation(&block(true, SHORT, 0)).exif(), 1);
        assert_eq!(orientation(&block(true, SHORT, 9)).exif(), 1);
        assert_eq!(orientation(b"II*\0\xff\xff\xff\xff").exif(), 1);
    }
}
