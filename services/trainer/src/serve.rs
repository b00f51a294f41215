//! A model as it is served: in ONNX Runtime, with the rewrites for serving. What is measured is what would ship.

use domain::RunFailureCode;
use evaluation::Embeddings;
use inference::{Engine, Expected, OnnxRuntime, OrtEngine, SessionOptions, TensorRef};

use crate::{Halt, base::Base, dataset::Dataset};

/// Crops of one run of the model.
const BATCH: usize = 8;

/// A loaded model.
pub struct Served<'a> {
    engine: OrtEngine,
    base: &'a Base,
}

impl<'a> Served<'a> {
    /// Loads a model with the input and output of `base`.
    ///
    /// # Errors
    /// A failure of the run: a graph that ONNX Runtime does not take, or another output.
    pub fn load(runtime: &OnnxRuntime, onnx: &[u8], base: &'a Base, threads: usize) -> Result<Self, Halt> {
        let unusable = |e: onnx::OnnxError| Halt::failed(RunFailureCode::ParityFailed, e.to_string());
        let mut graph = onnx::decode(onnx).map_err(unusable)?;
        onnx::rewrite::for_serving(&mut graph).map_err(unusable)?;
        let options = SessionOptions { threads: threads.max(1), max_batch: BATCH, ..SessionOptions::default() };
        let expected = Expected {
            model: base.manifest.name.clone(),
            item_shape: base.manifest.item_shape().to_vec(),
            outputs: Vec::new(),
            output_dim: base.manifest.embedder().map(|e| e.dim),
        };
        let engine = OrtEngine::load(runtime, &onnx::encode(&graph), &options, &expected);
        let engine = engine.map_err(|e| Halt::failed(RunFailureCode::ParityFailed, e.to_string()))?;
        Ok(Self { engine, base })
    }

    /// Embeddings of unit length of every crop, in order.
    ///
    /// # Errors
    /// As [`planes`]; a run that fails.
    pub fn embed(&mut self, data: &Dataset) -> Result<Embeddings, Halt> {
        let mut all = Embeddings::default();
        for first in (0..data.len()).step_by(BATCH) {
            let some: Vec<usize> = (first..data.len().min(first + BATCH)).collect();
            let values = self.run(&planes(self.base, data, &some)?, some.len())?;
            for row in values.chunks_exact(values.len() / some.len()) {
                if !all.push(&unit(row)) {
                    return Err(Halt::internal("the model gives embeddings of different lengths"));
                }
            }
        }
        Ok(all)
    }

    /// What the model gives for a batch, as it is.
    ///
    /// # Errors
    /// A run that fails.
    pub fn run(&mut self, batch: &[f32], n: usize) -> Result<Vec<f32>, Halt> {
        let [channels, height, width] = self.base.manifest.item_shape();
        let shape = [n, channels, height, width];
        let mut values = Vec::new();
        let run = self.engine.infer(TensorRef { shape: &shape, data: batch }, &mut |outputs| {
            values = outputs.first().map_or_else(Vec::new, |o| o.data.to_vec());
        });
        run.map_err(|e| Halt::failed(RunFailureCode::ParityFailed, e.to_string()))?;
        if values.is_empty() || values.len() % n != 0 {
            return Err(Halt::internal("the model gives no embeddings"));
        }
        Ok(values)
    }
}

/// Some crops as the model's input, without their margin.
///
/// # Errors
/// Crops that cannot be read.
pub fn planes(base: &Base, data: &Dataset, which: &[usize]) -> Result<Vec<f32>, Halt> {
    let side = base.alignment.side() as usize;
    let mut batch = vec![0.0; which.len() * 3 * side * side];
    for (i, out) in which.iter().zip(batch.chunks_exact_mut(3 * side * side)) {
        let crop = vision::without_margin(&data.crop(*i)?, base.alignment);
        let crop = crop.ok_or_else(|| Halt::internal("a crop has another size"))?;
        base.normalisation.write_planar(&crop, out).map_err(Halt::internal)?;
    }
    Ok(batch)
}

/// A vector at unit length.
pub fn unit(row: &[f32]) -> Vec<f32> {
    let length = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    #[expect(clippy::cast_possible_truncation, reason = "embeddings are of that width")]
    row.iter().map(|v| (f64::from(*v) / length) as f32).collect()
}
