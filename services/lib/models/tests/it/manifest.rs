//! Manifests: the built-in ones, and what is refused.

use std::fs;

use crate::common::rig;
use onnx::proto::{
    GraphProto, ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_shape_proto::Dimension,
    tensor_shape_proto::dimension::Value, type_proto,
};
use visavis_models::{Catalogue, Checksum, Head, Manifest, Model, ModelError, ModelSet, Selection, Target};

fn text(name: &str) -> String {
    fs::read_to_string(format!("{}/manifests/{name}.toml", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_default_pair_is_free_for_commercial_use_and_calibrated() {
    let catalogue = Catalogue::built_in().unwrap();
    let chosen = Selection::default();
    let (detector, embedder) =
        (catalogue.detector(&chosen.detector).unwrap(), catalogue.embedder(&chosen.embedder).unwrap());
    assert!(detector.commercial && embedder.commercial && !chosen.accept_licence);
    assert_eq!(detector.item_shape(), [3, 640, 640]);
    assert_eq!(detector.detector().unwrap().head, Head::Yunet);
    assert_eq!(detector.output_names().len(), 12);
    assert_eq!(embedder.embedder().unwrap().dim, 128);
    let table = embedder.calibration("yunet").unwrap();
    assert!((table.score_at(1e-4).0 - 0.4213).abs() < 1e-9);
    assert!(matches!(embedder.calibration("scrfd_500m"), Err(ModelError::NoCalibration { .. })));
    assert_eq!(catalogue.wanted(&chosen).unwrap().len(), 2);
}

#[test]
fn research_models_need_their_licence_accepted() {
    let catalogue = Catalogue::built_in().unwrap();
    let mut chosen = Selection { detector: "scrfd_500m".into(), embedder: "w600k_mbf".into(), ..Selection::default() };
    let e = catalogue.wanted(&chosen).unwrap_err();
    assert!(e.to_string().contains("--accept-licence") && e.to_string().contains("non-commercial"), "{e}");
    chosen.accept_licence = true;
    assert_eq!(catalogue.wanted(&chosen).unwrap().len(), 2);
    let embedder = catalogue.embedder("w600k_mbf").unwrap();
    let at = |detector| embedder.calibration(detector).unwrap().score_at(1e-3).0;
    assert!((at("yunet") - 0.2266).abs() < 1e-9 && (at("scrfd_500m") - 0.2271).abs() < 1e-9);
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones_of_its_role() {
    let e = Catalogue::built_in().unwrap().embedder("yunet").unwrap_err().to_string();
    assert_eq!(e, "there is no embedder named `yunet`; there are: sface, w600k_mbf");
}

#[test]
fn manifests_that_do_not_hold_together_are_refused_with_the_reason() {
    let sface = text("sface");
    let refused = |from: &str, to: &str| {
        assert!(sface.contains(from), "{from}");
        Manifest::parse("m.toml", &sface.replacen(from, to, 1)).unwrap_err().to_string()
    };
    for (from, to, reason) in [
        ("licence = \"Apache-2.0\"\n", "", "names no licence"),
        ("\"Apache-2.0\"", "\" \"", "names no licence"),
        ("commercial = true\n", "", "names no licence"),
        ("description", "descripton", "unknown field `descripton`"),
        ("[embedder]\ndim", "[embedder]\ndimm", "dimm"),
        ("role = \"embedder\"", "role = \"detector\"", "[detector] table"),
        ("face_recognition_sface", "../face_recognition_sface", "plain file name"),
        ("sha256 = \"0ba9", "sha256 = \"0b", "64 hex digits"),
        ("scale = [1.0", "scale = [0.0", "scale not 0"),
        ("size = [112", "size = [0", "input.size"),
        ("fmr = 1e-3", "fmr = 1e-2", "rise strictly"),
        ("dim = 128", "dim = 0", "`dim`"),
    ] {
        let e = refused(from, to);
        assert!(e.contains(reason) && e.contains("m.toml"), "{to}: {e}");
    }
    assert!(refused("bytes = 38696353", "bytes = \"many\"").contains("line 7"), "the line is named");
}

#[test]
fn the_contract_follows_file_normalisation_and_alignment_but_not_the_way_numbers_are_written() {
    let sface = text("sface");
    let contract =
        |from: &str, to: &str| Manifest::parse("m", &sface.replacen(from, to, 1)).unwrap().contract().unwrap();
    let base = contract("", "");
    assert_eq!(base, contract("mean = [0.0, 0.0", "mean = [0.00, 0"));
    assert_eq!(base, contract("description = \"SFace", "description = \"Another SFace"));
    let others = [
        contract("sha256 = \"0ba9", "sha256 = \"1ba9"),
        contract("\"rgb\"", "\"bgr\""),
        contract("scale = [1.0", "scale = [0.5"),
        contract("arcface_112", "arcface_128"),
    ];
    for (i, other) in others.iter().enumerate() {
        assert!(*other != base && !others[..i].contains(other), "{i}");
    }
    assert_eq!(Manifest::parse("y", &text("yunet")).unwrap().contract(), None);
}

/// A graph of one Flatten: [1,3,2,2] -> [1,12].
fn tiny_embedder() -> Vec<u8> {
    let value = |name: &str, dims: &[i64]| {
        let dim = dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
        ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
    };
    let flatten = NodeProto {
        op_type: Some("Flatten".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        ..Default::default()
    };
    let graph = GraphProto {
        name: Some("tiny".into()),
        node: vec![flatten],
        input: vec![value("x", &[1, 3, 2, 2])],
        output: vec![value("y", &[1, 12])],
        ..Default::default()
    };
    onnx::encode(&ModelProto { ir_version: Some(8), graph: Some(graph), ..Default::default() })
}

#[test]
fn a_model_of_ones_own_works_from_a_manifest_beside_it() {
    let rig = rig();
    let onnx = tiny_embedder();
    fs::write(rig.path("mine.onnx"), &onnx).unwrap();
    let manifest = format!(
        "name = 'mine'\nrole = 'embedder'\nfile = 'mine.onnx'\nsha256 = '{}'\nlicence = 'ours'\ncommercial = true\n\
         [input]\nchannel_order = 'rgb'\nmean = [0.0, 0.0, 0.0]\nscale = [1.0, 1.0, 1.0]\nsize = [2, 2]\n\
         [embedder]\ndim = 12\nalignment = 'arcface_112'\n",
        Checksum::of(&onnx)
    );
    fs::write(rig.path("mine.toml"), manifest).unwrap();
    let mut catalogue = Catalogue::built_in().unwrap();
    catalogue.add(Manifest::from_path(&rig.path("mine.toml")).unwrap());
    let mine = catalogue.embedder("mine").unwrap();
    let model = Model::load(mine, &rig.cache, false, Target::Cpu).unwrap();
    let graph = onnx::decode(&model.onnx).unwrap();
    assert_eq!(onnx::inputs(&graph)[0].dims[0], onnx::Dim::Symbolic("N".into()));
    // Only the detector has to be fetched, and without it the set does not load.
    let chosen = Selection { embedder: "mine".into(), ..Selection::default() };
    assert_eq!(catalogue.wanted(&chosen).unwrap().len(), 1);
    let e = ModelSet::load(&catalogue, &rig.cache, &chosen, Target::Cpu).unwrap_err();
    assert!(matches!(&e, ModelError::Missing { name } if name == "yunet"), "{e}");
    // Another file under the same name is not the model of the manifest.
    fs::write(rig.path("mine.onnx"), b"changed").unwrap();
    let e = Model::load(mine, &rig.cache, false, Target::Cpu).unwrap_err();
    assert!(matches!(e, ModelError::WrongChecksum { .. }), "{e}");
}
