//! Photos through a network without learning: templates and features. Called by `prepare`, validation and `evaluate`.

use crate::{
    TrainingError,
    backend::{Network, Pass},
    inputs::{Inputs, View},
    loader::with_loader,
    progress::{Event, Next, Phase, Progress},
};

/// How photos are embedded.
#[derive(Clone, Copy)]
pub(crate) struct Embedding {
    /// Photos at a time.
    pub micro: usize,
    /// Threads that load them.
    pub threads: usize,
    /// What it is for.
    pub phase: Phase,
}

/// What takes a batch of outputs.
type Take<'a> = &'a mut dyn FnMut(&[f32]) -> Result<(), TrainingError>;

/// Hands every batch of outputs to `take`, in order; `None` when it was told to stop.
///
/// # Errors
/// Of photos, the network and `take`.
pub(crate) fn through(
    network: &mut dyn Network,
    inputs: &dyn Inputs,
    items: &[(usize, View)],
    how: Embedding,
    (progress, take): (&mut dyn Progress, Take<'_>),
) -> Result<Option<()>, TrainingError> {
    let batches = items.len().div_ceil(how.micro);
    let of = |job: u64| {
        let from = job as usize * how.micro;
        items[from..(from + how.micro).min(items.len())].to_vec()
    };
    with_loader(inputs, 0..batches as u64, how.threads, &of, |mut loader| {
        for done in 0..batches {
            let batch = loader.next()?;
            let n = batch.items.len();
            take(&network.forward(&batch.values, n, Pass::Evaluation)?)?;
            let done = (done * how.micro + n).min(items.len());
            if progress.at(&Event::Phase { phase: how.phase, done, of: items.len() }) == Next::Stop {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

/// Templates (length one) row by row; `None` when it was told to stop.
///
/// # Errors
/// Of photos and the network.
pub(crate) fn templates(
    network: &mut dyn Network,
    inputs: &dyn Inputs,
    items: &[(usize, View)],
    how: Embedding,
    progress: &mut dyn Progress,
) -> Result<Option<Vec<f32>>, TrainingError> {
    let dim = network.dim();
    let mut all = Vec::with_capacity(items.len() * dim);
    let mut take = |rows: &[f32]| {
        all.extend_from_slice(rows);
        Ok(())
    };
    let done = through(network, inputs, items, how, (progress, &mut take))?;
    all.chunks_exact_mut(dim).for_each(normalise);
    Ok(done.map(|()| all))
}

/// To length one; what has no direction stays as it is.
pub(crate) fn normalise(row: &mut [f32]) {
    let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 && length.is_finite() {
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
}
