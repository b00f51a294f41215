//! Networks of the field as ONNX models with random weights, to be trained from scratch: MobileFaceNet, IResNet, ViT.
//! Callers: `visavis models new`, `visavis train --init ARCH`, the trainer, tests.
//!
//! All take `[N, 3, 112, 112]`, RGB, 0..255: the scaling to −1..1 is the graph's first two nodes, so that a manifest
//! has mean 0 and scale 1. All give `[N, dim]`, not normalised. The batch is symbolic.

mod architecture;
mod builder;
mod iresnet;
mod mobilefacenet;
mod random;
mod vit;

pub use architecture::{Architecture, ArchitectureError, Options, SIDE, build, parameters};
