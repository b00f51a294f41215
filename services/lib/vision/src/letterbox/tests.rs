//! Tests of letterboxing: where the picture lies, what surrounds it, and the way back.

use super::*;

fn gradient(width: u32, height: u32) -> Rgb8 {
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x * 7) as u8, (y * 5) as u8, (x ^ y) as u8]));
    Rgb8::new(width, height, pixels.collect()).unwrap()
}

fn cut(image: &Rgb8, region: Region) -> Rgb8 {
    let rows = region.y..region.y + region.height;
    let pixels = rows.flat_map(|y| (region.x..region.x + region.width).flat_map(move |x| image.pixel(x, y)));
    Rgb8::new(region.width, region.height, pixels.collect()).unwrap()
}

fn somewhere() -> Detection {
    Detection {
        bounding_box: domain::BoundingBox { x: 32.0, y: 16.0, width: 16.0, height: 8.0 },
        landmarks: domain::Landmarks([[32.0, 16.0]; 5]),
        score: 0.5,
    }
}

#[test]
fn letterbox_lies_top_left_on_black_and_maps_back() {
    let fit = Letterbox::fit(200, 100, 64, 64);
    assert_eq!((fit.width, fit.height), (64, 32));
    let canvas = letterbox(&Rgb8::filled(200, 100, [9; 3]), &fit).unwrap();
    assert_eq!((canvas.pixel(63, 31), canvas.pixel(0, 32)), ([9; 3], [0; 3]));
    let found = fit.to_image(&somewhere());
    assert_eq!(found.bounding_box, domain::BoundingBox { x: 100.0, y: 50.0, width: 50.0, height: 25.0 });
    assert_eq!(found.landmarks.0[4], [100.0, 50.0]);
}

#[test]
fn a_region_in_the_middle_is_the_cut_out_picture_with_a_border() {
    let image = gradient(90, 70);
    let region = Region { x: 20, y: 30, width: 40, height: 24 };
    let fit = Letterbox::at_scale(region, 0.5, (64, 32)).centred();
    assert_eq!((fit.left, fit.top, fit.width, fit.height), (22, 10, 20, 12));
    let canvas = letterbox(&image, &fit).unwrap();
    assert_eq!(
        cut(&canvas, Region { x: 22, y: 10, width: 20, height: 12 }),
        resize::resize(&cut(&image, region), 20, 12)
    );
    let around = [(21, 15), (42, 15), (30, 9), (30, 22)].map(|(x, y)| canvas.pixel(x, y));
    assert_eq!(around, [[0; 3]; 4]);
    let found = fit.to_image(&somewhere());
    assert_eq!(found.bounding_box, domain::BoundingBox { x: 40.0, y: 42.0, width: 32.0, height: 16.0 });
    assert_eq!(found.landmarks.0[0], [40.0, 42.0]);
    let outside = Letterbox { region: Region { x: 60, ..region }, ..fit };
    assert_eq!(letterbox(&image, &outside), Err(TensorError::Letterbox));
}

#[test]
fn extreme_shapes_keep_one_pixel() {
    let fit = Letterbox::fit(6000, 2, 640, 640);
    assert_eq!((fit.width, fit.height), (640, 1));
    assert_eq!(letterbox(&Rgb8::filled(6000, 2, [3; 3]), &fit).unwrap().pixel(639, 0), [3; 3]);
    let fit = Letterbox::fit(1, 1, 640, 320);
    assert_eq!((fit.width, fit.height), (320, 320));
}

#[test]
fn the_tensor_is_the_normalised_canvas() {
    let image = gradient(50, 70);
    let how = Normalisation { order: ChannelOrder::Bgr, mean: [1.0, 2.0, 3.0], scale: [0.5, 0.25, 2.0] };
    let region = Region { x: 3, y: 5, width: 40, height: 60 };
    for fit in [Letterbox::fit(50, 70, 64, 96), Letterbox::at_scale(region, 1.25, (64, 96)).centred()] {
        let (mut direct, mut by_canvas) = (vec![f32::NAN; 3 * 64 * 96], vec![f32::NAN; 3 * 64 * 96]);
        letterbox_tensor(&image, &fit, &how, &mut direct).unwrap();
        how.write_planar(&letterbox(&image, &fit).unwrap(), &mut by_canvas).unwrap();
        assert_eq!(direct, by_canvas);
        assert!(letterbox_tensor(&image, &fit, &how, &mut direct[1..]).is_err());
    }
}

#[test]
fn a_part_of_a_canvas_holds_what_the_whole_one_holds_there() {
    let image = gradient(50, 70);
    let how = Normalisation { order: ChannelOrder::Bgr, mean: [1.0, 2.0, 3.0], scale: [0.5, 0.25, 2.0] };
    let region = Region { x: 3, y: 5, width: 40, height: 60 };
    for whole in [Letterbox::fit(50, 70, 192, 256), Letterbox::at_scale(region, 1.25, (192, 256)).centred()] {
        let mut all = vec![f32::NAN; 3 * 192 * 256];
        letterbox_tensor(&image, &whole, &how, &mut all).unwrap();
        for part in [(0, 0, 192, 256), (64, 32, 64, 96), (96, 0, 96, 256), (0, 160, 160, 96), (96, 96, 32, 32)] {
            let (x, y, width, height) = part;
            let view = whole.part(Region { x, y, width, height });
            let mut shown = vec![f32::NAN; 3 * width as usize * height as usize];
            letterbox_tensor(&image, &view, &how, &mut shown).unwrap();
            let rows = (0..3 * 256).filter(|r| (y..y + height).contains(&(r % 256)));
            let expected = rows.flat_map(|r| &all[(r * 192 + x) as usize..(r * 192 + x + width) as usize]);
            assert!(shown.iter().eq(expected), "{part:?} of {whole:?}");
            let canvas = letterbox(&image, &view).unwrap();
            assert_eq!(canvas, cut(&letterbox(&image, &whole).unwrap(), Region { x, y, width, height }));
            let (seen, moved) = (view.to_image(&somewhere()), whole.to_image(&somewhere()));
            let (dx, dy) = (x as f32 / whole.scale, y as f32 / whole.scale);
            assert!((seen.bounding_box.x - moved.bounding_box.x - dx).abs() < 1e-3);
            assert!((seen.landmarks.0[2][1] - moved.landmarks.0[2][1] - dy).abs() < 1e-3);
        }
    }
    let nothing = Letterbox::fit(50, 70, 192, 256).part(Region { x: 0, y: 0, width: 32, height: 32 });
    let nothing = Letterbox { left: 32, ..nothing };
    assert_eq!(letterbox(&image, &nothing), Err(TensorError::Letterbox));
}
