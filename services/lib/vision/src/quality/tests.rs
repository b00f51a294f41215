//! Tests of the measures on crops made here; those on photos are in `tests/reference.rs`.

use super::*;

/// A crop with the coarse shape of a face: eyes, nose and mouth dark on a bright oval, edges of one pixel.
fn crop(change: impl Fn(f32) -> f32) -> Rgb8 {
    let pixels = (0..112 * 112_i32).flat_map(|i| {
        let (x, y) = (i % 112, i / 112);
        let near = |cx: i32, cy: i32, rx: i32, ry: i32| {
            ((x - cx) as f32 / rx as f32).powi(2) + ((y - cy) as f32 / ry as f32).powi(2) < 1.0
        };
        let dark = near(38, 52, 8, 4) || near(74, 52, 8, 4) || near(56, 70, 6, 5) || near(56, 92, 16, 4);
        let shade = if dark { 50.0 } else { 150.0 } + ((x * 7 + y * 13) % 11) as f32;
        [change(shade).clamp(0.0, 255.0) as u8; 3]
    });
    Rgb8::new(112, 112, pixels.collect()).unwrap()
}

fn found() -> Detection {
    Detection {
        bounding_box: BoundingBox { x: 20.0, y: 20.0, width: 100.0, height: 120.0 },
        landmarks: Landmarks([[45.0, 60.0], [105.0, 60.0], [75.0, 90.0], [50.0, 115.0], [100.0, 115.0]]),
        score: 0.9,
    }
}

fn of(aligned: &Rgb8) -> Quality {
    assess((200, 200), &found(), &Pose::default(), aligned)
}

/// A box filter of the given radius.
fn blurred(image: &Rgb8, radius: i64) -> Rgb8 {
    let at = |x: i64, y: i64| image.pixel(x.clamp(0, 111) as u32, y.clamp(0, 111) as u32)[0];
    let pixels = (0..112 * 112_i64).flat_map(|i| {
        let (x, y) = (i % 112, i / 112);
        let window = (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (x + dx, y + dy)));
        let sum: u32 = window.map(|(x, y)| u32::from(at(x, y))).sum();
        [(sum / ((2 * radius + 1) as u32).pow(2)) as u8; 3]
    });
    Rgb8::new(112, 112, pixels.collect()).unwrap()
}

#[test]
fn a_good_face_is_high_without_reasons() {
    let quality = of(&crop(|v| v));
    assert_eq!((quality.level, quality.reasons.as_slice()), (QualityLevel::High, &[][..]), "{quality:?}");
    assert!(quality.score > 80.0);
    assert_eq!(quality.components.inter_eye_distance, 60.0);
}

#[test]
fn blur_lowers_sharpness_step_by_step() {
    let sharp = crop(|v| v);
    let values: Vec<f32> = (0..5).map(|radius| of(&blurred(&sharp, radius)).components.sharpness).collect();
    assert!(values.is_sorted_by(|a, b| a > b || *b == 0.0), "{values:?}");
    assert!(of(&blurred(&sharp, 5)).reasons.contains(&"blurred".to_owned()));
}

#[test]
fn darkness_glare_and_flatness_lower_illumination() {
    let light = |gain: f32, shift: f32| of(&crop(|v| v * gain + shift));
    let values: Vec<f32> = [1.0, 0.4, 0.25, 0.12].map(|g| light(g, 0.0).components.illumination).to_vec();
    assert!(values.is_sorted_by(|a, b| a > b), "{values:?}");
    assert!(light(0.12, 0.0).reasons.contains(&"too_dark".to_owned()));
    assert!(light(1.0, 100.0).reasons.contains(&"too_bright".to_owned()));
    assert!(light(0.1, 100.0).reasons.contains(&"low_contrast".to_owned()));
    assert!(light(1.0, 100.0).components.illumination < 40.0);
}

#[test]
fn turning_cropping_and_distance_are_named() {
    let aligned = crop(|v| v);
    let turned = assess((200, 200), &found(), &Pose { yaw: -50.0, ..Pose::default() }, &aligned);
    assert_eq!(turned.reasons, ["turned_away"]);
    let cut = assess((90, 200), &found(), &Pose::default(), &aligned);
    assert_eq!((cut.components.completeness, cut.reasons.as_slice()), (70.0, &["cut_off".to_owned()][..]));
    let mut far = found();
    far.landmarks.0 = far.landmarks.0.map(|[x, y]| [x / 6.0, y / 6.0]);
    let far = assess((200, 200), &far, &Pose::default(), &aligned);
    assert_eq!(far.reasons, ["too_small"]);
    assert!(far.score < of(&aligned).score);
    let rolled = assess((200, 200), &found(), &Pose { roll: 80.0, ..Pose::default() }, &aligned);
    assert_eq!(rolled, of(&aligned), "alignment undoes roll");
}

#[test]
fn nothing_makes_a_figure_that_is_not_a_number() {
    let nan = f32::NAN;
    let mut odd = found();
    odd.landmarks.0 = [[nan, f32::INFINITY]; 5];
    odd.bounding_box = BoundingBox::default();
    odd.score = nan;
    for aligned in [Rgb8::filled(1, 1, [0; 3]), Rgb8::filled(2, 300, [9; 3]), Rgb8::filled(112, 112, [0; 3])] {
        let quality = assess((1, 1), &odd, &Pose { yaw: nan, pitch: nan, roll: nan }, &aligned);
        let c = quality.components;
        let all = [quality.score, c.sharpness, c.illumination, c.symmetry, c.frontality, c.completeness, c.detection];
        assert!(all.iter().all(|v| (0.0..=100.0).contains(v)), "{quality:?}");
        assert_eq!(quality.level, QualityLevel::Low);
    }
}
