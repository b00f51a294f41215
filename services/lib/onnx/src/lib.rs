//! Reading, rewriting and writing ONNX graphs. Models shipped by others are kept as they are on disk; what serving
//! needs (a symbolic batch, faster activations) is done to the graph in memory when a model is loaded.
//!
//! ```
//! # use visavis_onnx as onnx;
//! # fn f(file: &[u8]) -> Result<Vec<u8>, onnx::OnnxError> {
//! let mut model = onnx::decode(file)?;
//! onnx::rewrite::for_serving(&mut model)?;
//! Ok(onnx::encode(&model))
//! # }
//! ```

mod error;
pub mod graph;
mod interface;
mod read;
pub mod rewrite;
pub mod tensor;
mod unknown;

/// The messages of the ONNX format, as `proto/onnx/onnx.proto` lists them.
#[expect(missing_docs, reason = "generated; the meaning of every field is the ONNX standard's")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

pub use error::OnnxError;
pub use interface::{Dim, ValueSpec, inputs, outputs};
pub use proto::ModelProto;
pub use read::{decode, encode};
