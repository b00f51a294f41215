//! Every effect stays in its stated range, does what its name says, and comes again under the same key.

use proptest::prelude::*;

use super::*;
use crate::MARGIN;

/// Smooth enough to be moved about, with no two quarters alike.
fn face(side: u32) -> Rgb8 {
    let pixel = |x: u32, y: u32| {
        let wave = |p: u32, q: u32| (127.0 + 60.0 * (p as f32 / 9.0).sin() + 60.0 * (q as f32 / 13.0).cos()) as u8;
        [wave(x, y), wave(y, x + 20), (x * 255 / side) as u8]
    };
    Rgb8::new(side, side, (0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(x, y))).collect()).unwrap()
}

fn always(e: &mut Effect) {
    e.probability = 1.0;
}

/// Everything on.
fn all() -> Augment {
    let mut a = Augment { flip: 0.5, ..Augment::default() };
    for e in [&mut a.rotation, &mut a.scale, &mut a.shift, &mut a.brightness, &mut a.contrast, &mut a.saturation] {
        always(e);
    }
    for e in [&mut a.occlusion, &mut a.noise, &mut a.salt_and_pepper, &mut a.reduced, &mut a.motion_blur] {
        always(e);
    }
    always(&mut a.covered);
    a
}

fn one(set: impl Fn(&mut Augment)) -> Augment {
    let mut a = Augment::default();
    set(&mut a);
    a
}

fn changed(before: &Rgb8, after: &Rgb8) -> usize {
    before.data().chunks_exact(3).zip(after.data().chunks_exact(3)).filter(|(a, b)| a != b).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_drawn_lies_in_its_range(seed: u64, epoch in 0u64..1000, sample: u64) {
        let a = all();
        let d = a.draw(Key { seed, epoch, sample });
        let within = |v: f32, e: &Effect| v >= e.range[0] && v <= e.range[1];
        prop_assert!(within(d.turn.unwrap(), &a.rotation) && a.rotation.range == [-15.0, 15.0]);
        prop_assert!(within(d.scale.unwrap(), &a.scale) && a.scale.range == [0.9, 1.1]);
        prop_assert!(d.shift.unwrap().iter().all(|v| within(*v, &a.shift)) && a.shift.range == [-0.1, 0.1]);
        prop_assert!(within(d.brightness.unwrap(), &a.brightness) && a.brightness.range == [-0.2, 0.2]);
        prop_assert!(within(d.contrast.unwrap(), &a.contrast) && a.contrast.range == [-0.15, 0.15]);
        prop_assert!(within(d.saturation.unwrap(), &a.saturation) && a.saturation.range == [-0.1, 0.1]);
        prop_assert!(within(d.noise.unwrap(), &a.noise) && a.noise.range == [0.01, 0.05]);
        prop_assert!(within(d.salt_and_pepper.unwrap(), &a.salt_and_pepper) && a.salt_and_pepper.range == [0.02, 0.1]);
        prop_assert!(within(d.cover.unwrap().from, &a.covered) && within(d.reduced.unwrap(), &a.reduced));
        prop_assert!(within(d.motion.unwrap().length, &a.motion_blur));
        let r = d.occlusion.unwrap();
        prop_assert!(r.x + r.width <= 112 && r.y + r.height <= 112);
        // Whole pixels: half a row of the widest rectangle is 0.3 % of the area.
        let share = f64::from(r.width * r.height) / f64::from(112u32 * 112);
        prop_assert!((0.046..=0.204).contains(&share), "{share}");
    }

    #[test]
    fn the_same_key_gives_the_same_bytes_and_another_does_not(seed: u64, epoch in 0u64..100, sample in 0u64..10_000) {
        let (a, crop) = (all(), face(112));
        let key = Key { seed, epoch, sample };
        let made = a.augment(&crop, key);
        prop_assert_eq!((made.width(), made.height()), (112, 112));
        prop_assert_eq!(&made, &a.augment(&crop, key));
        for other in [Key { seed: !seed, ..key }, Key { epoch: epoch + 1, ..key }, Key { sample: sample + 1, ..key }] {
            prop_assert_ne!(&made, &a.augment(&crop, other));
        }
    }

    #[test]
    fn a_crop_with_margin_never_shows_its_border(seed: u64) {
        let mut a = all();
        for e in [&mut a.occlusion, &mut a.covered, &mut a.noise, &mut a.salt_and_pepper, &mut a.brightness] {
            e.probability = 0.0;
        }
        let white = Rgb8::filled(112 + 2 * MARGIN, 112 + 2 * MARGIN, [255; 3]);
        let made = a.augment(&white, Key { seed, epoch: 0, sample: 0 });
        prop_assert!(made.data().iter().all(|v| *v == 255), "black came in from beyond the margin");
    }

    #[test]
    fn salt_and_pepper_hits_the_share_it_says(seed: u64, share in 0.02f32..=0.1) {
        let plain = Rgb8::filled(112, 112, [128; 3]);
        let a = one(|a| a.salt_and_pepper = Effect { probability: 1.0, range: [share, share] });
        let hit = changed(&plain, &a.augment(&plain, Key { seed, epoch: 0, sample: 0 }));
        prop_assert!((hit as f32 - share * 112.0 * 112.0).abs() <= 1.0, "{hit}");
    }

    #[test]
    fn noise_has_the_deviation_it_says(seed: u64, sigma in 0.01f32..=0.05) {
        let plain = Rgb8::filled(112, 112, [128; 3]);
        let a = one(|a| a.noise = Effect { probability: 1.0, range: [sigma, sigma] });
        let made = a.augment(&plain, Key { seed, epoch: 0, sample: 0 });
        let squares: f64 = made.data().iter().map(|v| (f64::from(*v) - 128.0).powi(2)).sum();
        let deviation = (squares / made.data().len() as f64).sqrt() / 255.0;
        // Rounding to whole values adds 1/12 of a value squared.
        prop_assert!((deviation - f64::from(sigma)).abs() < 0.02 * f64::from(sigma) + 1e-4, "{deviation} {sigma}");
    }

    #[test]
    fn light_changes_by_the_share_it_says(by in -0.2f32..=0.2) {
        let plain = Rgb8::filled(112, 112, [100, 120, 140]);
        let a = one(|a| a.brightness = Effect { probability: 1.0, range: [by, by] });
        let made = a.augment(&plain, Key { seed: 1, epoch: 0, sample: 0 });
        for (v, was) in made.pixel(5, 5).iter().zip([100.0f32, 120.0, 140.0]) {
            prop_assert!((f32::from(*v) - was * (1.0 + by)).abs() <= 0.5, "{v}");
        }
    }
}

#[test]
fn with_everything_off_the_crop_comes_out_as_it_went_in() {
    let key = Key { seed: 1, epoch: 2, sample: 3 };
    assert_eq!(Augment::default().augment(&face(112), key), face(112));
    let wide = face(184);
    let middle = crate::without_margin(&wide, Alignment::Arcface112).unwrap();
    assert_eq!(Augment::default().augment(&wide, key), middle);
    assert!(Augment::default().is_off() && !all().is_off());
}

#[test]
fn switching_one_effect_off_leaves_the_others_as_they_were() {
    let key = Key { seed: 9, epoch: 1, sample: 4 };
    let (whole, mut less) = (all().draw(key), all());
    less.brightness.probability = 0.0;
    assert_eq!(less.draw(key), Drawn { brightness: None, ..whole });
}

#[test]
fn contrast_spreads_saturation_colours_and_a_flip_mirrors() {
    let key = Key { seed: 1, epoch: 0, sample: 0 };
    let mut two = Rgb8::filled(112, 112, [100; 3]);
    two.data_mut()[..112 * 56 * 3].fill(140);
    let a = one(|a| a.contrast = Effect { probability: 1.0, range: [0.15, 0.15] });
    let made = a.augment(&two, key);
    assert_eq!((made.pixel(0, 0), made.pixel(0, 111)), ([143; 3], [97; 3]));
    let a = one(|a| a.saturation = Effect { probability: 1.0, range: [-0.1, -0.1] });
    let made = a.augment(&Rgb8::filled(112, 112, [200, 100, 100]), key);
    let [r, g, _] = made.pixel(3, 3);
    assert_eq!(i32::from(r) - i32::from(g), 90, "a tenth nearer to grey");
    let a = Augment { flip: 1.0, ..Augment::default() };
    let (before, after) = (face(112), a.augment(&face(112), key));
    assert_eq!((before.pixel(0, 7), before.pixel(30, 90)), (after.pixel(111, 7), after.pixel(81, 90)));
}

#[test]
fn a_turn_moves_a_mark_clockwise_and_a_scale_moves_it_outwards() {
    let mut crop = Rgb8::filled(112, 112, [0; 3]);
    // Right of the middle: columns 95 to 97, rows 54 to 57.
    for y in 54..58usize {
        crop.data_mut()[(y * 112 + 95) * 3..(y * 112 + 98) * 3].fill(255);
    }
    let mark = |p: &Rgb8| {
        let mut sum = [0.0f64; 3];
        for (i, pixel) in p.data().chunks_exact(3).enumerate() {
            let v = f64::from(pixel[0]);
            sum = [sum[0] + v * (i % 112) as f64, sum[1] + v * (i / 112) as f64, sum[2] + v];
        }
        [sum[0] / sum[2] - 55.5, sum[1] / sum[2] - 55.5]
    };
    let key = Key { seed: 1, epoch: 0, sample: 0 };
    let a = one(|a| a.rotation = Effect { probability: 1.0, range: [15.0, 15.0] });
    let [x, y] = mark(&a.augment(&crop, key));
    assert!((y.atan2(x).to_degrees() - 15.0).abs() < 0.5 && (x.hypot(y) - 40.5).abs() < 0.3, "{x} {y}");
    let a = one(|a| a.scale = Effect { probability: 1.0, range: [1.1, 1.1] });
    let [x, y] = mark(&a.augment(&crop, key));
    assert!((x - 44.55).abs() < 0.3 && y.abs() < 0.3, "{x} {y}");
    let a = one(|a| a.shift = Effect { probability: 1.0, range: [0.1, 0.1] });
    let [x, y] = mark(&a.augment(&crop, key));
    assert!((x - 51.7).abs() < 0.3 && (y - 11.2).abs() < 0.3, "{x} {y}");
}

#[test]
fn degradations_take_detail_away_and_cover_the_lower_face_alone() {
    let key = Key { seed: 3, epoch: 0, sample: 0 };
    let mut stripes = Rgb8::filled(112, 112, [0; 3]);
    for row in stripes.data_mut().chunks_exact_mut(112 * 3) {
        row.as_chunks_mut::<3>().0.iter_mut().skip(1).step_by(2).for_each(|p| *p = [255; 3]);
    }
    let spread = |p: &Rgb8| {
        let row = p.row(56).iter().step_by(3).skip(8).take(96);
        row.clone().max().unwrap() - row.min().unwrap()
    };
    let small = one(|a| a.reduced.probability = 1.0).augment(&stripes, key);
    assert!(spread(&stripes) == 255 && spread(&small) < 90, "{}", spread(&small));
    let flat = Rgb8::filled(112, 112, [77, 88, 99]);
    assert_eq!(one(|a| a.reduced.probability = 1.0).augment(&flat, key), flat, "a plain face stays plain");
    let blur = Motion { length: 9.0, direction: 0.0 }.apply(&stripes);
    assert!(spread(&blur) < 60, "{}", spread(&blur));
    assert_eq!(Motion { length: 9.0, direction: 0.0 }.apply(&flat), flat);
    let a = one(|a| a.covered = Effect { probability: 1.0, range: [0.6, 0.6] });
    let (before, after) = (face(112), a.augment(&face(112), key));
    let rows = |p: &Rgb8, from: usize, to: usize| p.data()[from * 336..to * 336].to_vec();
    assert_eq!(rows(&before, 0, 66), rows(&after, 0, 66));
    assert_eq!(after.pixel(56, 70), after.pixel(40, 100), "one colour below");
    assert_ne!(before.pixel(56, 70), after.pixel(56, 70));
}

#[test]
fn ranges_that_make_no_sense_are_refused_by_name() {
    let refused = |a: Augment| a.check().unwrap_err().to_string();
    assert!(refused(one(|a| a.noise.probability = 1.5)).contains("`noise`"));
    assert!(refused(one(|a| a.scale.range = [1.1, 0.9])).contains("`scale`"));
    assert!(refused(one(|a| a.rotation.range = [f32::NAN, 1.0])).contains("`rotation`"));
    assert!(refused(Augment { flip: -0.1, ..Augment::default() }).contains("`flip`"));
    assert!(all().check().is_ok());
}
