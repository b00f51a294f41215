//! Models of 8 bits: where they are kept, how they are found, and what is said when there is none.

use std::fs;

use crate::common::rig;
use visavis_models::{
    Catalogue, Checksum, Manifest, ModelError, Precision, Quantised, Selection, quantised_from, quantised_in,
    save_quantised,
};

fn how(source: &Manifest) -> Quantised {
    Quantised { source: source.sha256, calibration: "0123456789abcdef".repeat(4), samples: 7, version: 1 }
}

#[test]
fn what_was_made_is_found_again_and_taken_for_int8_alone() {
    let rig = rig();
    let mut catalogue = Catalogue::built_in().unwrap();
    let sface = catalogue.embedder("sface").unwrap().clone();
    assert_eq!(quantised_in(&rig.cache, catalogue.manifests()).unwrap(), []);
    let int8 = Selection { precision: Precision::Int8, ..Selection::default() };
    let e = catalogue.resolve(&int8).unwrap_err();
    assert!(matches!(e, ModelError::NotQuantised { .. }));
    assert!(e.to_string().contains("visavis models quantize --calibration DIR --embedder sface"), "{e}");

    let made = quantised_from(&sface, b"a model", how(&sface));
    let path = save_quantised(&rig.cache, &sface, &made, b"a model", None).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a model");
    let name = path.file_name().unwrap().to_string_lossy();
    assert_eq!(name, "face_recognition_sface_2021dec-int8-v1-01234567.onnx", "source, version and calibration");
    let found = quantised_in(&rig.cache, catalogue.manifests()).unwrap();
    let [back] = found.as_slice() else { panic!("one was made, {} are found", found.len()) };
    assert_eq!(back.folder.as_deref(), path.parent());
    assert_eq!(Manifest { folder: None, ..back.clone() }, made, "the manifest reads back as it was");

    catalogue.add(back.clone());
    assert_eq!(catalogue.resolve(&int8).unwrap().1.name, "sface-int8");
    assert_eq!(catalogue.resolve(&Selection::default()).unwrap().1.name, "sface");
    let by_name = Selection { embedder: "sface-int8".into(), ..Selection::default() };
    assert_eq!(catalogue.resolve(&by_name).unwrap().1.name, "sface-int8");
    assert_eq!(catalogue.wanted(&int8).unwrap().len(), 1, "only the detector has to be fetched");
    // Another embedder's 8 bits are none of this one's.
    let other = Selection { embedder: "w600k_mbf".into(), accept_licence: true, ..int8 };
    assert!(matches!(catalogue.resolve(&other), Err(ModelError::NotQuantised { name }) if name == "w600k_mbf"));
}

#[test]
fn its_contract_is_its_own_and_its_licence_the_float_models() {
    let catalogue = Catalogue::built_in().unwrap();
    let source = catalogue.embedder("w600k_mbf").unwrap();
    let [a, b] = [&b"one"[..], b"two"].map(|bytes| quantised_from(source, bytes, how(source)));
    assert_ne!(a.contract(), source.contract());
    assert_ne!(a.contract(), b.contract(), "another calibration, another contract");
    assert_eq!((a.sha256, a.bytes), (Checksum::of(b"one"), Some(3)));
    assert!(a.permit(false).is_err() && a.sources.is_empty());
    assert_eq!(a.calibration("yunet").unwrap(), source.calibration("yunet").unwrap());
}

#[test]
fn it_can_be_written_elsewhere_with_its_manifest_beside_it() {
    let rig = rig();
    let catalogue = Catalogue::built_in().unwrap();
    let yunet = catalogue.detector("yunet").unwrap();
    let made = quantised_from(yunet, b"a detector", how(yunet));
    let out = rig.path("carry/faces.onnx");
    assert_eq!(save_quantised(&rig.cache, yunet, &made, b"a detector", Some(&out)).unwrap(), out);
    let back = Manifest::from_path(&out.with_extension("toml")).unwrap();
    assert_eq!((back.name.as_str(), back.file.as_str()), ("yunet-int8", "faces.onnx"));
    assert_eq!(quantised_in(&rig.cache, catalogue.manifests()).unwrap(), [], "the cache has none");
    // A name that no manifest may hold is noticed before anything is written.
    let odd = rig.path("carry/two words.onnx");
    assert!(save_quantised(&rig.cache, yunet, &made, b"a detector", Some(&odd)).is_err() && !odd.exists());
}

#[test]
fn a_damaged_manifest_in_the_cache_is_an_error_not_another_model() {
    let rig = rig();
    let catalogue = Catalogue::built_in().unwrap();
    let sface = catalogue.embedder("sface").unwrap();
    let path = save_quantised(&rig.cache, sface, &quantised_from(sface, b"m", how(sface)), b"m", None).unwrap();
    fs::write(path.with_file_name("int8.toml"), "name = 3").unwrap();
    assert!(matches!(quantised_in(&rig.cache, catalogue.manifests()), Err(ModelError::Manifest { .. })));
}
