//! Tests of decoding on images made here: PNG by the png crate, JPEG and WebP from a few literal bytes.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, max_pixels: 10_000, max_side: 200 };

/// 16×8, one component, baseline, all of one grey; with an EXIF orientation where asked for.
fn jpeg(exif: Option<u8>) -> Vec<u8> {
    let mut out = vec![0xFF, 0xD8];
    if let Some(value) = exif {
        let mut body = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        body.extend([value, 0, 0, 0]);
        out.extend([0xFF, 0xE1, 0, body.len() as u8 + 2]);
        out.extend(body);
    }
    out.extend([0xFF, 0xDB, 0, 67, 0]);
    out.extend([8; 64]);
    out.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
    // DC codes: category 0 is `0`, category 5 is `10`. One AC code: end of block, `0`.
    out.extend([0xFF, 0xC4, 0, 21, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
    out.extend([0xFF, 0xC4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0]);
    // First block: DC difference +16 (`10` `10000`, end `0`); second: no difference (`0`, end `0`); ones to the byte.
    out.extend([0b1010_0000, 0b0011_1111, 0xFF, 0xD9]);
    out
}

fn png(color: ::png::ColorType, depth: ::png::BitDepth, width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ::png::ColorType::Indexed {
        encoder.set_palette(vec![1, 2, 3, 40, 50, 60]);
        encoder.set_trns(vec![0, 255]);
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    out
}

/// A 3×2 red lossy WebP.
const WEBP: [u8; 68] = [
    0x52, 0x49, 0x46, 0x46, 0x3C, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56, 0x50, 0x38, 0x20, 0x30, 0x00, 0x00,
    0x00, 0xD0, 0x01, 0x00, 0x9D, 0x01, 0x2A, 0x03, 0x00, 0x02, 0x00, 0x01, 0x40, 0x26, 0x25, 0xA0, 0x02, 0x74, 0xBA,
    0x01, 0xF8, 0x00, 0x03, 0xB0, 0x00, 0xFE, 0xF1, 0x4D, 0xAF, 0xFC, 0xD8, 0x15, 0xCD, 0x73, 0xEF, 0xF7, 0xFF, 0xD0,
    0xA1, 0xFC, 0xF6, 0x8F, 0xCF, 0x68, 0xFF, 0xD0, 0x48, 0x00, 0x00,
];

fn code(bytes: &[u8]) -> domain::ErrorCode {
    decode(bytes, &LIMITS).unwrap_err().code()
}

#[test]
fn a_grey_jpeg_comes_out_in_its_shade_and_turned() {
    let upright = decode(&jpeg(None), &LIMITS).unwrap();
    assert_eq!(upright, Rgb8::filled(16, 8, [144; 3]), "128 + 16 × 8 / 8");
    let info = probe(&jpeg(Some(6)), &LIMITS).unwrap();
    assert_eq!((info.width, info.height, info.orientation), (8, 16, Orientation::Rotate90));
    assert_eq!(decode(&jpeg(Some(6)), &LIMITS).unwrap(), Rgb8::filled(8, 16, [144; 3]));
}

#[test]
fn a_jpeg_cut_off_anywhere_is_damaged_and_bytes_after_its_end_are_not() {
    let whole = jpeg(Some(3));
    for length in 3..whole.len() {
        assert_eq!(code(&whole[..length]), domain::ErrorCode::ImageUndecodable, "cut at {length}");
    }
    let mut trailing = whole;
    trailing.extend([0xFF, 0xD8, 1, 2, 3]);
    assert!(decode(&trailing, &LIMITS).is_ok());
}

#[test]
fn a_jpeg_that_promises_far_more_than_it_holds_is_damaged() {
    let mut file = jpeg(None);
    let frame = file.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    file[frame + 5..frame + 9].copy_from_slice(&[0x20, 0, 0x20, 0]);
    let open = Limits { max_pixels: u64::MAX, max_side: u32::MAX, ..LIMITS };
    assert_eq!(decode(&file, &open).unwrap_err().code(), domain::ErrorCode::ImageUndecodable);
}

#[test]
fn png_kinds_come_out_as_rgb_without_alpha() {
    use ::png::{BitDepth, ColorType};
    let first = |color, depth, data: &[u8]| decode(&png(color, depth, 1, 1, data), &LIMITS).unwrap().pixel(0, 0);
    assert_eq!(first(ColorType::Rgb, BitDepth::Eight, &[1, 2, 3]), [1, 2, 3]);
    assert_eq!(first(ColorType::Rgba, BitDepth::Eight, &[1, 2, 3, 0]), [1, 2, 3]);
    assert_eq!(first(ColorType::Rgb, BitDepth::Sixteen, &[1, 255, 2, 255, 3, 255]), [1, 2, 3]);
    assert_eq!(first(ColorType::GrayscaleAlpha, BitDepth::Eight, &[9, 0]), [9, 9, 9]);
    assert_eq!(first(ColorType::Grayscale, BitDepth::Sixteen, &[9, 77]), [9, 9, 9]);
    assert_eq!(first(ColorType::Grayscale, BitDepth::One, &[0x80]), [255; 3]);
    assert_eq!(first(ColorType::Indexed, BitDepth::Eight, &[1]), [40, 50, 60]);
    assert_eq!(first(ColorType::Indexed, BitDepth::Eight, &[0]), [1, 2, 3], "transparent, its colour kept");
}

#[test]
fn a_png_cut_off_in_its_pixels_is_damaged() {
    let noise: Vec<u8> = (0..30_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let whole = png(::png::ColorType::Rgb, ::png::BitDepth::Eight, 100, 100, &noise);
    assert_eq!(decode(&whole, &LIMITS).unwrap().data(), noise);
    for length in [8, 20, 33, whole.len() / 2, whole.len() - 20, whole.len() - 5] {
        assert_eq!(code(&whole[..length]), domain::ErrorCode::ImageUndecodable, "cut at {length}");
    }
}

#[test]
fn webp_is_decoded_and_refused_when_cut_off_or_animated() {
    let red = decode(&WEBP, &LIMITS).unwrap();
    assert_eq!((red.width(), red.height()), (3, 2));
    let [r, g, b] = red.pixel(1, 1);
    assert!(r > 240 && g < 20 && b < 20, "{r} {g} {b}");
    for length in [12, 20, 30, WEBP.len() - 4] {
        assert_eq!(code(&WEBP[..length]), domain::ErrorCode::ImageUndecodable, "cut at {length}");
    }
    let mut animated = WEBP[..12].to_vec();
    animated.extend(b"VP8X\x0A\0\0\0\x02\0\0\0\x01\0\0\x01\0\0");
    assert_eq!(code(&animated), domain::ErrorCode::UnsupportedMediaType);
}

#[test]
fn other_content_is_refused_by_name() {
    for (bytes, name) in
        [(&b"GIF89a.."[..], "GIF"), (b"BM......", "BMP"), (b"hello there", "text"), (b"\0\x01\x02", "kind")]
    {
        let error = decode(bytes, &LIMITS).unwrap_err();
        assert_eq!(error.code(), domain::ErrorCode::UnsupportedMediaType);
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(code(&[]), domain::ErrorCode::InvalidRequest);
}

#[test]
fn limits_hold_by_the_header_alone() {
    use ::png::{BitDepth, ColorType};
    let wide = png(ColorType::Grayscale, BitDepth::Eight, 201, 1, &[0; 201]);
    assert_eq!(code(&wide), domain::ErrorCode::ImageTooLarge);
    let large = png(ColorType::Grayscale, BitDepth::Eight, 101, 100, &[0; 10_100]);
    assert_eq!(code(&large), domain::ErrorCode::ImageTooLarge);
    assert_eq!(code(&large[..33]), domain::ErrorCode::ImageTooLarge, "no pixel was needed to say so");
    assert_eq!(code(&vec![0; LIMITS.max_bytes + 1]), domain::ErrorCode::PayloadTooLarge);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_input_panics_or_breaks_the_limits(
        kind in 0usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let noise: Vec<u8> = (0..=255).collect();
        let mut bytes = match kind {
            0 => jpeg(Some(6)),
            1 => png(::png::ColorType::Rgba, ::png::BitDepth::Eight, 8, 8, &noise),
            2 => png(::png::ColorType::Indexed, ::png::BitDepth::Four, 32, 16, &noise),
            _ => WEBP.to_vec(),
        };
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // A panic of a codec would come out as this very error; here it must not happen at all.
        match decode(&bytes, &LIMITS) {
            Ok(image) => prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= LIMITS.max_pixels),
            Err(error) => prop_assert!(!error.to_string().contains("makes no sense"), "{error}"),
        }
    }
}
