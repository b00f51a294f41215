//! Detectors: outputs by name and shape, batches, other sizes.

use visavis_inference::{Engine as _, Outputs, Tensor};

use crate::common::{difference, engine, pictures, single};

const SAME: f32 = 1e-5;

fn shapes(outputs: &Outputs) -> Vec<(String, Vec<usize>)> {
    outputs.iter().map(|(name, t)| (name.to_owned(), t.shape().to_vec())).collect()
}

#[test]
fn yunet_gives_its_twelve_outputs_and_a_batch_of_two_equals_two_singles() {
    let mut engine = engine("yunet");
    let batch = pictures(2, 640);
    let together = engine.run(&batch).unwrap();
    let mut wanted = Vec::new();
    for (kind, width) in [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)] {
        for (stride, cells) in [(8, 6400), (16, 1600), (32, 400)] {
            wanted.push((format!("{kind}_{stride}"), vec![2, cells, width]));
        }
    }
    assert_eq!(shapes(&together), wanted);
    for i in 0..2 {
        let alone = engine.run(&single(&batch, i)).unwrap();
        for (name, t) in alone.iter() {
            let off = difference(t.data(), together.get(name).unwrap().item(i).unwrap());
            assert!(off < SAME, "{name} {i}: {off}");
        }
    }
}

#[test]
fn yunet_takes_pictures_of_another_size() {
    let mut engine = engine("yunet");
    let wide = Tensor::new([1, 3, 320, 480], vec![9.0; 3 * 320 * 480]).unwrap();
    assert_eq!(engine.run(&wide).unwrap().get("kps_32").unwrap().shape(), [1, 10 * 15, 10]);
}

#[test]
fn scrfd_gives_nine_outputs_by_stride_and_batches_too() {
    let mut engine = engine("scrfd_500m");
    let picture = pictures(2, 640);
    let scaled = picture.data().iter().map(|v| (v - 127.5) / 128.0).collect();
    let batch = Tensor::new(picture.shape(), scaled).unwrap();
    let together = engine.run(&batch).unwrap();
    let widths: Vec<_> = shapes(&together).into_iter().map(|(_, s)| s).collect();
    let wanted = [1, 4, 10].into_iter().flat_map(|w| [12800, 3200, 800].map(|a| vec![2, a, w]));
    assert_eq!(widths, wanted.collect::<Vec<_>>());
    let alone = engine.run(&single(&batch, 1)).unwrap();
    for (name, t) in alone.iter() {
        let off = difference(t.data(), together.get(name).unwrap().item(1).unwrap());
        assert!(off < SAME, "{name}: {off}");
    }
}
