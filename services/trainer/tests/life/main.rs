//! The life of training runs over a real store, queue and ONNX Runtime. What learns is a stand-in of a few numbers, so that
//! a run takes milliseconds and can be held at any step; real learning is in `engine.rs`, and with real processes in
//! tests/cluster.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

extern crate visavis_trainer as trainer;

mod data;
mod engine;
mod failures;
mod kit;
mod lives;
mod standin;
