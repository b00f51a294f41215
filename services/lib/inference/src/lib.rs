//! Running models: the [`Engine`] trait, the ONNX Runtime engine behind it, and the thread that owns a session.
//! Knows tensors, not images: what goes in is made, and what comes out is read, by the vision crate.
//!
//! One [`OnnxRuntime`] per process, one [`OrtEngine`] per model, one thread ([`SessionHandle`]) per engine.

mod block_on;
mod buckets;
mod engine;
mod error;
mod fake;
mod ort_engine;
mod session;
mod tensor;

pub use buckets::{BUCKETS, bucket_for, buckets_up_to};
pub use engine::{Engine, Provider, Signature, TensorSpec};
pub use error::InferenceError;
pub use fake::FakeEngine;
pub use ort_engine::{Expected, OnnxRuntime, OrtEngine, SessionOptions};
pub use session::{SessionHandle, SessionStats};
pub use tensor::{Outputs, Tensor};
