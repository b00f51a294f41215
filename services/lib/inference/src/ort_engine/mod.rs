//! The engine on ONNX Runtime: the shared library, loaded at run time, and one session per model.

mod engine;
mod library;
mod options;

pub use engine::OrtEngine;
pub use library::OnnxRuntime;
pub use options::{Expected, SessionOptions};
