//! Decoding, alignment and quality on real photos. The photos are not part of the source tree: where they are not
//! there, each test says so and passes.
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use domain::{BoundingBox, ErrorCode, Landmarks, QualityLevel};
use visavis_vision::{
    Alignment, Detection, ImageFormat, Letterbox, Limits, Rgb8, Similarity, align, decode, describe, letterbox, probe,
    resize,
};

/// The evaluation data: `VISAVIS_SHARED`, or `shared` beside the workspace.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared");
    let folder = std::env::var_os("VISAVIS_SHARED").map_or_else(beside, PathBuf::from);
    if folder.join("data").is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no evaluation data at {}", folder.display());
    None
}

/// The largest edge file has 48 megapixels.
const LIMITS: Limits = Limits { max_bytes: 10 << 20, max_pixels: 50_000_000, max_side: 16_384 };

struct Reference {
    name: String,
    image: Rgb8,
    size: (u64, u64),
    found: Detection,
}

fn references(shared: &Path) -> Vec<Reference> {
    let text = std::fs::read_to_string(shared.join("reference/reference-faces.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let number = |v: &serde_json::Value| v.as_f64().unwrap() as f32;
    let faces = json["faces"].as_array().unwrap().iter();
    faces
        .map(|face| {
            let name = face["image"].as_str().unwrap().to_owned();
            let bytes = std::fs::read(shared.join("data").join(&name)).unwrap();
            let b: Vec<f32> = face["box"].as_array().unwrap().iter().map(number).collect();
            let mut landmarks = Landmarks::default();
            for (point, pair) in landmarks.0.iter_mut().zip(face["landmarks"].as_array().unwrap()) {
                *point = [number(&pair[0]), number(&pair[1])];
            }
            Reference {
                image: decode(&bytes, &LIMITS).unwrap_or_else(|e| panic!("{name}: {e}")),
                size: (face["width"].as_u64().unwrap(), face["height"].as_u64().unwrap()),
                found: Detection {
                    bounding_box: BoundingBox { x: b[0], y: b[1], width: b[2], height: b[3] },
                    landmarks,
                    score: number(&face["score"]),
                },
                name,
            }
        })
        .collect()
}

#[test]
fn reference_faces_decode_to_their_size_and_align_to_the_template() {
    let Some(shared) = shared() else { return };
    let all = references(&shared);
    assert_eq!(all.len(), 39);
    let mut usable = 0;
    for Reference { name, image, size, found } in all {
        assert_eq!((u64::from(image.width()), u64::from(image.height())), size, "{name}");
        let template = Alignment::Arcface112.points();
        let to_aligned = Similarity::estimate(&found.landmarks.0, &template).unwrap();
        let squared: f64 = (found.landmarks.0.iter().zip(template))
            .map(|(p, t)| {
                let [x, y] = to_aligned.apply(p.map(f64::from));
                (x - f64::from(t[0])).powi(2) + (y - f64::from(t[1])).powi(2)
            })
            .sum();
        assert!((squared / 5.0).sqrt() < 8.0, "{name}: the points are {:.1} pixels off", (squared / 5.0).sqrt());
        let aligned = align(&image, &found.landmarks, Alignment::Arcface112).unwrap();
        let face = describe(&image, &found, &aligned);
        usable += usize::from(face.quality.level >= QualityLevel::Medium);
        assert!(face.pose.yaw.abs() < 50.0 && face.pose.pitch.abs() < 30.0, "{name}: {:?}", face.pose);
    }
    assert!(usable >= 37, "portraits are usable: {usable} of 39");
}

#[test]
fn every_edge_file_comes_out_as_documented() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/edge");
    let table = std::fs::read_to_string(folder.join("expected.csv")).unwrap();
    let mut checked = 0;
    for line in table.lines().skip(1) {
        let column = |i: usize| line.split(',').nth(i).unwrap();
        let (file, expected, size) = (column(0), column(1), column(4));
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let result = decode(&bytes, &LIMITS).map(|image| format!("{}x{}", image.width(), image.height()));
        let code = result.as_ref().map_err(|e| e.code());
        match expected {
            "error:corrupt_image" => assert_eq!(code, Err(ErrorCode::ImageUndecodable), "{file}"),
            "error:empty_input" => assert_eq!(code, Err(ErrorCode::InvalidRequest), "{file}"),
            "error:unsupported_format" => assert_eq!(code, Err(ErrorCode::UnsupportedMediaType), "{file}"),
            "error:image_too_large" => assert_eq!(code, Err(ErrorCode::ImageTooLarge), "{file}"),
            // The table allows a clear refusal of these two.
            _ if file.ends_with(".gif") || file.ends_with(".bmp") => {
                assert_eq!(code, Err(ErrorCode::UnsupportedMediaType), "{file}");
            }
            _ => {
                assert_eq!(result.as_deref(), Ok(size), "{file}");
                let info = probe(&bytes, &LIMITS).unwrap();
                assert_eq!(format!("{}x{}", info.width, info.height), size, "{file}: by the header alone");
            }
        }
        checked += 1;
    }
    assert_eq!(checked, 49);
}

#[test]
fn the_eight_orientations_of_one_photo_are_one_picture_and_the_name_does_not_count() {
    let Some(shared) = shared() else { return };
    let read = |file: &str| std::fs::read(shared.join("data/edge").join(file)).unwrap();
    let upright = decode(&read("exif_orientation_1.jpg"), &LIMITS).unwrap();
    for value in 2..=8 {
        let bytes = read(&format!("exif_orientation_{value}.jpg"));
        assert_eq!(probe(&bytes, &LIMITS).unwrap().orientation.exif(), value);
        let other = decode(&bytes, &LIMITS).unwrap();
        assert!(difference(&upright, &other) < 2.0, "orientation {value}: {}", difference(&upright, &other));
    }
    let png = read("png_named.jpg");
    assert_eq!(probe(&png, &LIMITS).unwrap().format, ImageFormat::Png);
    for file in ["jpeg_cmyk.jpg", "jpeg_progressive.jpg", "webp_lossy.webp", "webp_lossless.webp", "png_16bit_rgb.png"]
    {
        let other = decode(&read(file), &LIMITS).unwrap();
        assert!(difference(&upright, &other) < 4.0, "{file}: {}", difference(&upright, &other));
    }
}

#[test]
fn blur_and_darkness_lower_the_quality_of_a_real_photo() {
    let Some(shared) = shared() else { return };
    let all = references(&shared);
    let photo = all.iter().find(|r| r.name.ends_with("astronaut.png")).unwrap();
    let quality = |image: &Rgb8| {
        let aligned = align(image, &photo.found.landmarks, Alignment::Arcface112).unwrap();
        describe(image, &photo.found, &aligned).quality
    };
    let original = quality(&photo.image);
    assert_eq!((original.level, original.reasons.len()), (QualityLevel::High, 0), "{original:?}");
    let mut last = original.clone();
    for factor in [2, 4, 8] {
        let (w, h) = (photo.image.width(), photo.image.height());
        let coarse = resize(&resize(&photo.image, w / factor, h / factor), w, h);
        let now = quality(&coarse);
        assert!(now.components.sharpness < last.components.sharpness, "reduced by {factor}");
        assert!(now.score < last.score, "reduced by {factor}");
        last = now;
    }
    assert!(last.reasons.contains(&"blurred".to_owned()), "{last:?}");
    let mut last = original;
    for divisor in [3, 6, 12] {
        let mut dark = photo.image.clone();
        dark.data_mut().iter_mut().for_each(|v| *v /= divisor);
        let now = quality(&dark);
        assert!(now.components.illumination < last.components.illumination, "light through {divisor}");
        last = now;
    }
    assert!(last.reasons.contains(&"too_dark".to_owned()), "{last:?}");
}

/// Mean absolute difference of two pictures of one size, on a small canvas so that codec noise averages out.
fn difference(a: &Rgb8, b: &Rgb8) -> f32 {
    assert_eq!((a.width(), a.height()), (b.width(), b.height()));
    let small = |image: &Rgb8| letterbox(image, &Letterbox::fit(a.width(), a.height(), 256, 256)).unwrap();
    let sum: u32 = small(a).data().iter().zip(small(b).data()).map(|(x, y)| u32::from(x.abs_diff(*y))).sum();
    sum as f32 / (256.0 * 256.0 * 3.0)
}
