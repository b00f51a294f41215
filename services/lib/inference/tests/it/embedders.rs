//! Embedders: batches, colour order, and the rewritten graphs against the shipped ones.

use std::fs;

use visavis_inference::{Engine as _, InferenceError, OrtEngine, Provider, SessionHandle, SessionOptions, Tensor};

use crate::common::{cosine, difference, engine, expected, model, pictures, runtime, single};

/// Rounding in another order; measured 1e-6 to 2e-6.
const SAME: f32 = 1e-5;

#[test]
fn a_batch_of_eight_equals_eight_singles() {
    for (name, dim) in [("sface", 128), ("w600k_mbf", 512)] {
        let mut engine = engine(name);
        let batch = pictures(8, 112);
        let together = engine.run(&batch).unwrap();
        assert_eq!(together.first().unwrap().shape(), [8, dim]);
        for i in 0..8 {
            let alone = engine.run(&single(&batch, i)).unwrap();
            let off = difference(alone.first().unwrap().data(), together.first().unwrap().item(i).unwrap());
            assert!(off < SAME, "{name} {i}: {off}");
        }
        let (first, second) = (together.first().unwrap().item(0).unwrap(), together.first().unwrap().item(1).unwrap());
        assert!(cosine(first, second) < 0.999, "different pictures give different embeddings");
    }
}

#[test]
fn the_rewritten_graph_computes_what_the_shipped_file_does() {
    for name in ["sface", "w600k_mbf"] {
        let model = model(name);
        let shipped = fs::read(&model.path).unwrap();
        let options = SessionOptions::default();
        let mut shipped = OrtEngine::load(&runtime(), &shipped, &options, &expected(&model.manifest)).unwrap();
        let mut served = engine(name);
        let batch = pictures(3, 112);
        for i in 0..3 {
            let (a, b) = (shipped.run(&single(&batch, i)).unwrap(), served.run(&single(&batch, i)).unwrap());
            let off = difference(a.first().unwrap().data(), b.first().unwrap().data());
            assert!(off < SAME, "{name} {i}: {off}");
        }
    }
}

#[test]
fn red_and_blue_swapped_is_another_face_to_sface() {
    let mut engine = engine("sface");
    let rgb = pictures(1, 112);
    let planes: Vec<_> = rgb.data().chunks(112 * 112).collect();
    let bgr = Tensor::new(rgb.shape(), [planes[2], planes[1], planes[0]].concat()).unwrap();
    let (a, b) = (engine.run(&rgb).unwrap(), engine.run(&bgr).unwrap());
    let alike = cosine(a.first().unwrap().data(), b.first().unwrap().data());
    assert!(alike < 0.98, "{alike}");
}

#[test]
fn batches_that_do_not_fit_are_errors_and_the_engine_goes_on() {
    let mut engine = engine("sface");
    for shape in [[1, 3, 112, 111], [1, 1, 112, 112], [33, 3, 112, 112]] {
        let batch = Tensor::new(shape, vec![0.0; shape.iter().product()]).unwrap();
        assert!(matches!(engine.run(&batch), Err(InferenceError::Shape(_))), "{shape:?}");
    }
    assert!(engine.run(&pictures(1, 112)).is_ok());
}

#[test]
fn a_manifest_that_describes_another_graph_is_refused_at_load() {
    let model = model("sface");
    let load = |change: &dyn Fn(&mut visavis_inference::Expected)| {
        let mut e = expected(&model.manifest);
        change(&mut e);
        OrtEngine::load(&runtime(), &model.onnx, &SessionOptions::default(), &e).unwrap_err().to_string()
    };
    let e = load(&|e| e.item_shape = vec![3, 160, 160]);
    assert_eq!(
        e,
        "the model `sface` does not fit its manifest: its input `data` has shape [?, 3, 112, 112], not [N, 3, 160, 160]"
    );
    assert!(load(&|e| e.output_dim = Some(512)).contains("not [N, 512]"));
    assert!(load(&|e| e.outputs = vec!["cls_8".into()]).contains("no output `cls_8`, only fc1"));
}

#[test]
fn a_provider_that_is_not_there_and_a_file_that_is_no_model_are_errors() {
    let model = model("sface");
    let load = |onnx: &[u8], provider| {
        let options = SessionOptions { provider, ..SessionOptions::default() };
        OrtEngine::load(&runtime(), onnx, &options, &expected(&model.manifest)).unwrap_err()
    };
    let e = load(&model.onnx, Provider::Cuda);
    assert!(matches!(e, InferenceError::ProviderUnavailable { provider: "cuda", .. }), "{e}");
    let e = load(&model.onnx, Provider::TensorRt);
    assert!(matches!(e, InferenceError::ProviderUnavailable { provider: "tensorrt", .. }), "{e}");
    assert!(matches!(load(b"not a model", Provider::Cpu), InferenceError::Load { .. }));
    assert!(matches!(load(&model.onnx[..model.onnx.len() / 2], Provider::Cpu), InferenceError::Load { .. }));
}

#[test]
fn warm_up_runs_every_bucket_on_the_session_thread() {
    let model = model("sface");
    let options = SessionOptions { max_batch: 4, ..SessionOptions::default() };
    let engine = OrtEngine::load(&runtime(), &model.onnx, &options, &expected(&model.manifest)).unwrap();
    let session = SessionHandle::spawn("sface", engine).unwrap();
    session.warm_up(&model.manifest.item_shape()).unwrap();
    let stats = session.stats();
    assert_eq!((stats.runs, stats.items), (3, 1 + 2 + 4));
    assert!(!stats.busy.is_zero() && session.is_alive());
    assert_eq!((session.provider(), session.max_batch()), (Provider::Cpu, 4));
}
