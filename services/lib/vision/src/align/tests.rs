//! Tests of the similarity and the warp.

use proptest::prelude::*;

use super::*;

const TEMPLATE: [[f32; 2]; 5] = Alignment::Arcface112.points();

proptest! {
    #[test]
    fn a_similarity_is_recovered(scale in 0.05f64..30.0, turn in -3.1f64..3.1, tx in -4e3f64..4e3, ty in -4e3f64..4e3) {
        let truth = Similarity { a: scale * turn.cos(), b: scale * turn.sin(), tx, ty };
        let moved = TEMPLATE.map(|[x, y]| truth.apply([x.into(), y.into()]).map(|v| v as f32));
        let found = Similarity::estimate(&TEMPLATE, &moved).unwrap();
        // The points are rounded to 32 bits, some 2e-4 at 4,000.
        prop_assert!((found.a - truth.a).abs() < 1e-4 && (found.b - truth.b).abs() < 1e-4, "{found:?} {truth:?}");
        let [x, y] = found.inverse().apply(found.apply([12.5, -3.0]));
        prop_assert!((x - 12.5).abs() < 1e-6 && (y + 3.0).abs() < 1e-6);
    }

    #[test]
    fn any_points_align_or_are_refused(points in prop::array::uniform5(prop::array::uniform2(prop::num::f32::ANY))) {
        let image = Rgb8::filled(8, 8, [200; 3]);
        if let Ok(aligned) = align(&image, &Landmarks(points), Alignment::Arcface112) {
            prop_assert_eq!((aligned.width(), aligned.height()), (112, 112));
        }
    }
}

#[test]
fn a_mirrored_face_is_turned_but_never_mirrored() {
    let mirrored = TEMPLATE.map(|[x, y]| [112.0 - x, y]);
    let found = Similarity::estimate(&mirrored, &TEMPLATE).unwrap();
    // (a, −b; b, a) has the determinant a² + b²: never negative.
    assert!(found.a * found.a + found.b * found.b > 0.0);
}

#[test]
fn degenerate_points_are_refused() {
    let refused = |points| Similarity::estimate(&points, &TEMPLATE) == Err(AlignError::Degenerate);
    assert!(refused([[5.0, 5.0]; 5]));
    assert!(refused([[f32::NAN, 0.0]; 5]));
    assert!(refused([[f32::MAX, f32::MAX], [f32::MIN, 0.0], [0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]));
    assert_eq!(AlignError::Degenerate.code(), ErrorCode::NoFace);
}

#[test]
fn template_landmarks_copy_the_picture_and_a_half_pixel_shift_averages() {
    let pixels = (0..112 * 112u32).flat_map(|i| [(i % 112) as u8 * 2, (i / 112) as u8 * 2, 7]);
    let image = Rgb8::new(112, 112, pixels.collect()).unwrap();
    assert_eq!(align(&image, &Landmarks(TEMPLATE), Alignment::Arcface112).unwrap(), image);
    let shifted = TEMPLATE.map(|[x, y]| [x + 0.5, y]);
    let half = align(&image, &Landmarks(shifted), Alignment::Arcface112).unwrap();
    assert_eq!(half.pixel(10, 10), [21, 20, 7]);
    assert_eq!(half.pixel(111, 0)[2], 4, "the last column fades into black: half of 7, rounded to even");
}

#[test]
fn names() {
    assert_eq!("arcface_112".parse(), Ok(Alignment::Arcface112));
    assert_eq!(Alignment::Arcface112.name(), "arcface_112");
    assert!("arcface_96".parse::<Alignment>().is_err());
}
