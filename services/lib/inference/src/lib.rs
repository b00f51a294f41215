//! Running models: the [`Engine`] trait, the ONNX Runtime engine behind it, and the thread that owns a session.
//! Knows tensors, not images: what goes in is made, and what comes out is read, by the vision crate.
//!
//! One [`OnnxRuntime`] per process. On processors a model has an engine per core, and whoever has something to compute
//! does it on its own thread ([`EnginePool`]); on a GPU it has one engine, whose thread takes batches
//! ([`SessionHandle`]).

mod block_on;
mod buckets;
mod engine;
mod error;
mod fake;
mod ort_engine;
mod pool;
mod session;
mod tensor;

pub use buckets::{BUCKETS, bucket_for, buckets_up_to};
pub use engine::{Engine, Provider, Signature, TensorSpec};
pub use error::InferenceError;
pub use fake::FakeEngine;
pub use ort_engine::{Expected, OnnxRuntime, OrtEngine, SessionOptions};
pub use pool::EnginePool;
pub use session::{SessionHandle, SessionStats};
pub use tensor::{OutputRef, Outputs, Tensor, TensorRef};
