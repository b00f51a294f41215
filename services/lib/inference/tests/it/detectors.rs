//! Detectors: outputs by name and shape, batches, other sizes.

use std::fs;

use visavis_inference::{Engine as _, OrtEngine, Outputs, SessionOptions, Tensor};

use crate::common::{difference, engine, expected, model, pictures, runtime, single};

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
fn the_rewritten_detectors_compute_what_the_shipped_files_do() {
    for (name, mean, scale) in [("yunet", 0.0, 1.0), ("scrfd_500m", 127.5, 1.0 / 128.0)] {
        let model = model(name);
        let shipped = fs::read(&model.path).unwrap();
        let options = SessionOptions::default();
        let mut expected = expected(&model.manifest);
        if name == "scrfd_500m" {
            expected.item_shape = vec![3, 640, 640];
        }
        let mut shipped = OrtEngine::load(&runtime(), &shipped, &options, &expected).unwrap();
        let picture = pictures(1, 640);
        let picture =
            Tensor::new(picture.shape(), picture.data().iter().map(|v| (v - mean) * scale).collect()).unwrap();
        let (a, b) = (shipped.run(&picture), engine(name).run(&picture).unwrap());
        // SCRFD as shipped has no batch axis on its outputs, which the engine refuses: its rewrite is tested by batches.
        let Ok(a) = a else {
            assert_eq!(name, "scrfd_500m");
            continue;
        };
        for ((n, a), (m, b)) in a.iter().zip(b.iter()) {
            assert_eq!(n, m);
            let off = difference(a.data(), b.data());
            assert!(off < SAME, "{name} {n}: {off}");
        }
    }
}

#[test]
fn the_small_heads_of_yunet_run_as_one_for_each_stride() {
    let served = onnx::decode(&model("yunet").onnx).unwrap();
    let count = |op: &str| served.graph.iter().flat_map(|g| &g.node).filter(|n| n.op_type() == op).count();
    assert_eq!((count("Conv"), count("Split"), count("Reshape")), (35, 3, 3));
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
