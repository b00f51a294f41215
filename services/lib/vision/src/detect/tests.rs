//! Tests of the detector heads on outputs written by hand.

use proptest::prelude::*;

use super::*;

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

fn views(tensors: &Tensors) -> Vec<OutputView<'_>> {
    tensors.iter().map(|(name, shape, data)| OutputView { name, shape, data }).collect()
}

/// Empty outputs of a head for a 64×64 canvas and a batch.
fn empty(head: DetectorHead, batch: usize) -> Tensors {
    let mut tensors = Tensors::new();
    for stride in STRIDES {
        let cells = (64 / stride) * (64 / stride);
        let (kinds, anchors): (&[(&str, usize)], usize) = match head {
            DetectorHead::Yunet => (&[("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)], 1),
            DetectorHead::Scrfd => (&[("score", 1), ("bbox", 4), ("kps", 10)], 2),
        };
        for &(kind, values) in kinds {
            let rows = cells * anchors;
            tensors.push((format!("{kind}_{stride}"), vec![batch, rows, values], vec![0.0; batch * rows * values]));
        }
    }
    tensors
}

fn set(tensors: &mut Tensors, name: &str, row: usize, values: &[f32]) {
    let (.., data) = tensors.iter_mut().find(|(n, ..)| n == name).unwrap();
    data[row * values.len()..(row + 1) * values.len()].copy_from_slice(values);
}

fn decode(head: DetectorHead, tensors: &Tensors, item: BatchItem) -> Result<Vec<Detection>, DetectError> {
    head.decode(&views(tensors), (64, 64), item, &head.default_params())
}

#[test]
fn yunet_cell_to_face() {
    let mut tensors = empty(DetectorHead::Yunet, 1);
    // Stride 16 on 64: four columns. Cell 6 is column 2, row 1.
    set(&mut tensors, "cls_16", 6, &[0.9]);
    set(&mut tensors, "obj_16", 6, &[1.7]);
    set(&mut tensors, "bbox_16", 6, &[0.5, 0.25, 2.0_f32.ln(), 0.0]);
    set(&mut tensors, "kps_16", 6, &[0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 1.0, 1.0]);
    let found = decode(DetectorHead::Yunet, &tensors, BatchItem::SINGLE).unwrap();
    assert_eq!(found.len(), 1);
    assert!((found[0].score - 0.9_f32.sqrt()).abs() < 1e-6, "an objectness over 1 counts as 1");
    let b = found[0].bounding_box;
    assert!((b.width - 32.0).abs() < 1e-4 && b.height == 16.0);
    assert!((b.x - (40.0 - 16.0)).abs() < 1e-4 && b.y == 20.0 - 8.0);
    assert_eq!(found[0].landmarks.0, [[32.0, 16.0], [48.0, 16.0], [40.0, 24.0], [32.0, 32.0], [48.0, 32.0]]);
}

#[test]
fn scrfd_anchor_to_face_by_shape_and_in_a_batch() {
    let mut tensors = empty(DetectorHead::Scrfd, 3);
    // Stride 32: four cells of two anchors. Of the third image: cell 1 (column 1, row 0), second anchor.
    set(&mut tensors, "score_32", 2 * 8 + 3, &[0.8]);
    set(&mut tensors, "bbox_32", 2 * 8 + 3, &[0.5, 0.0, 0.25, 1.0]);
    set(&mut tensors, "kps_32", 2 * 8 + 3, &[0.0, 0.0, 0.5, 0.0, 0.25, 0.5, 0.0, 1.0, 0.5, 1.0]);
    for (i, (name, ..)) in tensors.iter_mut().enumerate() {
        *name = i.to_string();
    }
    let item = |index| BatchItem { index, of: 3 };
    assert_eq!(decode(DetectorHead::Scrfd, &tensors, item(0)).unwrap(), []);
    let found = decode(DetectorHead::Scrfd, &tensors, item(2)).unwrap();
    let box_wanted = BoundingBox { x: 16.0, y: 0.0, width: 24.0, height: 32.0 };
    assert_eq!((found[0].bounding_box, found[0].score), (box_wanted, 0.8));
    assert_eq!(found[0].landmarks.0[4], [48.0, 32.0]);
    assert!(decode(DetectorHead::Scrfd, &tensors, item(3)).is_err());
}

#[test]
fn outputs_that_do_not_fit_are_named() {
    let mut tensors = empty(DetectorHead::Yunet, 1);
    let wrong_batch = decode(DetectorHead::Yunet, &tensors, BatchItem { index: 0, of: 2 }).unwrap_err();
    assert_eq!(wrong_batch.to_string(), "the detector's output cls_8 has 64 values, 128 are expected");
    tensors.retain(|(name, ..)| name != "kps_32");
    let missing = decode(DetectorHead::Yunet, &tensors, BatchItem::SINGLE).unwrap_err();
    assert_eq!(missing, DetectError::Missing("kps_32".to_owned()));
    let head = DetectorHead::Scrfd;
    assert!(matches!(
        head.decode(&[], (64, 64), BatchItem::SINGLE, &head.default_params()),
        Err(DetectError::Missing(_))
    ));
    let odd = head.decode(&[], (64, 65), BatchItem::SINGLE, &head.default_params());
    assert_eq!(odd, Err(DetectError::Canvas { width: 64, height: 65 }));
}

#[test]
fn names() {
    for head in [DetectorHead::Yunet, DetectorHead::Scrfd] {
        assert_eq!(head.name().parse(), Ok(head));
    }
    assert_eq!("mtcnn".parse::<DetectorHead>(), Err(DetectError::UnknownHead("mtcnn".to_owned())));
}

proptest! {
    #[test]
    fn whatever_a_model_says_the_faces_are_finite(
        values in prop::collection::vec(prop::num::f32::ANY, 1..50),
        yunet in any::<bool>(),
    ) {
        let head = if yunet { DetectorHead::Yunet } else { DetectorHead::Scrfd };
        let mut tensors = empty(head, 1);
        let mut next = values.iter().cycle();
        for (.., data) in &mut tensors {
            data.fill_with(|| next.next().copied().unwrap_or_default());
        }
        for face in decode(head, &tensors, BatchItem::SINGLE).unwrap() {
            prop_assert!(face.is_sane() && face.score <= 1.0);
            prop_assert!(face.score >= head.default_params().score_threshold);
        }
    }
}
