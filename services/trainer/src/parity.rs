//! Whether ONNX Runtime computes from the exported model what the engine that trained it does: what was measured while it
//! learnt would else not be what serves.

use domain::RunFailureCode;

use crate::{
    Halt,
    base::Base,
    dataset::Parts,
    learner::Learner,
    serve::{Served, planes, unit},
};

/// Largest difference of one value of two embeddings of unit length.
pub const TOLERANCE: f32 = 1e-4;

/// Crops that are compared.
const CROPS: usize = 8;

/// Compares both on some crops; the largest difference.
///
/// # Errors
/// `parity_failed` beyond [`TOLERANCE`].
pub fn check(
    learner: &dyn Learner,
    served: &mut Served<'_>,
    base: &Base,
    onnx: &[u8],
    data: &Parts,
) -> Result<f32, Halt> {
    let from = if data.held_out.is_empty() { &data.train } else { &data.held_out };
    let which: Vec<usize> = (0..from.len().min(CROPS)).collect();
    let batch = planes(base, from, &which)?;
    let trained = learner.forward(onnx, &batch, which.len())?;
    let runs = served.run(&batch, which.len())?;
    if trained.len() != runs.len() {
        let detail = format!("the engine gives {} values, ONNX Runtime {}", trained.len(), runs.len());
        return Err(Halt::failed(RunFailureCode::ParityFailed, detail));
    }
    let largest = largest_difference(&trained, &runs, runs.len() / which.len());
    // Written so that a difference that is no number fails.
    if largest <= TOLERANCE {
        return Ok(largest);
    }
    let detail = format!(
        "ONNX Runtime computes something else from the model than the engine that trained it: embeddings differ by up to \
         {largest:e}, where {TOLERANCE:e} is allowed"
    );
    Err(Halt::failed(RunFailureCode::ParityFailed, detail))
}

fn largest_difference(a: &[f32], b: &[f32], dim: usize) -> f32 {
    let rows = a.chunks_exact(dim).zip(b.chunks_exact(dim));
    let differ =
        |(a, b): (&[f32], &[f32])| -> Vec<f32> { unit(a).iter().zip(unit(b)).map(|(x, y)| (x - y).abs()).collect() };
    // `f32::max` would pass over what is no number.
    rows.flat_map(differ).fold(0.0, |most: f32, d| if most.is_nan() || d <= most { most } else { d })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_does_not_count_direction_does_and_no_number_passes() {
        assert!(largest_difference(&[3.0, 4.0], &[30.0, 40.0], 2) < 1e-6);
        assert!((largest_difference(&[1.0, 0.0, 1.0, 0.0], &[1.0, 0.0, 0.0, 1.0], 2) - 1.0).abs() < 1e-6);
        assert!(largest_difference(&[f32::NAN, 0.0], &[1.0, 0.0], 2).is_nan());
        assert!(largest_difference(&[f32::NAN, 0.0, 1.0, 0.0], &[1.0, 0.0, 1.0, 0.0], 2).is_nan());
    }
}
