//! The figures that the service must reach, against reference embeddings and the evaluation data where it is there:
//! right, not only running.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking; figures show with --nocapture"
)]

mod architectures;
mod batches;
mod close;
mod counts;
mod edge;
#[path = "../models.rs"]
mod models;
mod pairs;
mod pipeline;
mod quantised;
mod recall;
mod reference;
mod training;

/// Cosine of two vectors of any length.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
