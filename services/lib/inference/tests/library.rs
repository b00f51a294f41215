//! Loading ONNX Runtime, which a process does once: hence one test, in a binary of its own.

#[cfg(test)]
#[path = "it/common.rs"]
#[expect(dead_code, reason = "this test needs the library alone")]
mod common;

use std::fs;

use domain::ErrorCode;
use visavis_inference::{InferenceError, OnnxRuntime};

#[test]
fn a_missing_or_foreign_library_is_an_error_and_the_right_one_loads_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let missing = OnnxRuntime::load(&folder.path().join("libonnxruntime.so")).unwrap_err();
    assert!(matches!(missing, InferenceError::Library { .. }), "{missing}");
    assert!(missing.to_string().contains("libonnxruntime.so"), "{missing}");
    assert_eq!(missing.code(), ErrorCode::ModelNotReady);
    let text = folder.path().join("text.so");
    fs::write(&text, "not a library").unwrap();
    assert!(matches!(OnnxRuntime::load(&text), Err(InferenceError::Library { .. })));
    // A real shared library, of something else.
    let foreign = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    if let Some(libc) = foreign.split_whitespace().find(|w| w.contains("/libc.so") || w.contains("/libc-")) {
        assert!(matches!(OnnxRuntime::load(libc.as_ref()), Err(InferenceError::Library { .. })));
    }

    let runtime = common::runtime();
    assert!(runtime.build_info().contains("ORT Build Info"));
    assert_eq!(OnnxRuntime::load(runtime.library()).unwrap().library(), runtime.library(), "a second load is the same");
    let other = OnnxRuntime::load(&text).unwrap_err();
    assert!(matches!(other, InferenceError::OtherLibraryLoaded { .. }), "{other}");
}
