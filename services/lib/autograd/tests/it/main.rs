//! The engine against arithmetic in double precision, operator by operator and network by network, and what callers
//! rely on: same bits, same nodes, errors with names. Runs with real ONNX Runtime are in `tests/accuracy`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod behaviour;
mod build;
mod check;
mod nets;
mod networks;
mod operators;
mod reference;
mod reference_shapes;
