//! Smaller and faster models from the same ONNX graph. Today: static quantisation to 8 bits, after training; training
//! with quantisation in the loop, pruning and distilling belong here too. Callers: `visavis models quantize`, tests.
//!
//! A [`Quantiser`] plans what becomes 8 bits wide in a float graph, names the values whose ranges it needs to see
//! ([`Quantiser::observed`]), finds the ranges from samples ([`Quantiser::calibrate`]), and writes the graph with
//! QuantizeLinear and DequantizeLinear around what is quantised ([`Quantiser::quantise`]). It runs no model itself:
//! whoever calls it has an engine.
//!
//! Weights are symmetric, signed, with a scale per output channel; activations unsigned, with a zero point, one scale
//! for each value (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
//! Integer-Arithmetic-Only Inference").

mod emit;
mod error;
mod histogram;
mod plan;
mod prepare;
mod quantiser;
mod range;
mod weights;

pub use error::CompressError;
pub use quantiser::{Observe, Quantiser, Ranges};
pub use range::Range;

/// Version of everything that decides the bytes of a quantised model: raised when the same model and samples would
/// give another file.
pub const QUANTISER_VERSION: u32 = 1;
