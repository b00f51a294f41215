//! Whether ONNX Runtime gives the templates that the trainer gave: what was trained is what is served. Called by `train`
//! at the end of a run.

use inference::{Engine, Expected, OnnxRuntime, OrtEngine, SessionOptions, Tensor};
use models::{Manifest, Model, Target};
use runtime::config::ModelsSection;
use training::{Finished, Recipe, Samples};
use vision::{Augment, Key};

use super::folder::FolderSamples;
use crate::artefacts::{self, Shelf};
use crate::failure::Failure;

/// Least cosine of the two templates of a photo: rounding in another order of sums, and no more.
const LEAST: f64 = 0.9999;

/// Compares the templates of a few photos; gives the least cosine.
///
/// # Errors
/// Templates that differ; a runtime or a model that cannot be loaded.
pub fn check(
    section: &ModelsSection,
    manifest: &Manifest,
    (finished, samples): (&Finished, &FolderSamples),
    recipe: &Recipe,
) -> Result<f64, Failure> {
    let shelf = Shelf::open(section)?;
    let runtime: OnnxRuntime = artefacts::runtime(&shelf, section)?;
    // As the service loads it, with the rewrites for serving.
    let model = Model::load(manifest, &shelf.cache, true, Target::Cpu)?;
    let dim = manifest.embedder().map(|e| e.dim);
    let item_shape = manifest.item_shape().to_vec();
    let expected = Expected { model: manifest.name.clone(), item_shape, outputs: Vec::new(), output_dim: dim };
    let mut engine = OrtEngine::load(&runtime, &model.onnx, &SessionOptions::default(), &expected)?;
    let [channels, height, width] = manifest.item_shape();
    let mut least = 1.0f64;
    for (sample, template) in &finished.probes {
        let picture = Augment::default().augment(&samples.crop(*sample)?, Key { seed: 0, epoch: 0, sample: 0 });
        let mut input = vec![0.0; channels * height * width];
        let written = recipe.input.normalisation().write_planar(&picture, &mut input);
        written.map_err(|e| Failure::Other(e.to_string()))?;
        let outputs = engine.run(&Tensor::new(vec![1, channels, height, width], input)?)?;
        let served = outputs.first().map_or(&[][..], |t| t.data());
        // `min` would pass over what is not a number.
        let close = cosine(template, served);
        if close.is_nan() || close < least {
            least = close;
        }
    }
    if least.is_nan() || least < LEAST {
        return Err(Failure::Other(format!(
            "ONNX Runtime gives other templates than the trainer (cosine {least:.6}): {} is not to be used",
            finished.model.display()
        )));
    }
    Ok(least)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum::<f64>();
    if a.len() == b.len() { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() } else { f64::NAN }
}
