//! `visavis models quantize`: photos through the worker's own stages to what a model is fed, ranges found on that, the
//! 8-bit file written, and both models compared on the same samples.

mod compare;
mod samples;

use std::path::Path;

use compress::{QUANTISER_VERSION, Quantiser};
use inference::{Engine, Expected, InferenceError, OrtEngine, SessionOptions};
use models::{Manifest, ModelSet, Quantised, quantised_from, save_quantised};
use runtime::config::Precision;
use runtime::{Config, telemetry};

use crate::artefacts::{self, Shelf};
use crate::bench::pictures::{pictures_below, spread};
use crate::cli::{ModelRole, QuantizeArgs};
use crate::failure::Failure;
use crate::{output, wiring};
use samples::Samples;

/// Photos that an embedder's ranges are found on; more change little.
const FACES: usize = 256;

/// Photos that a detector's ranges are found on: a canvas has thirty times the pixels of a face.
const CANVASES: usize = 64;

/// Quantises one model and prints what came of it.
///
/// # Errors
/// A folder without photos or without faces, a model that cannot be quantised, a file that cannot be written.
pub async fn quantize(mut config: Config, args: QuantizeArgs) -> Result<(), Failure> {
    telemetry::init(&config.telemetry)?;
    if args.out.as_ref().is_some_and(|out| out.extension().is_none_or(|e| e != "onnx")) {
        return Err(Failure::Usage("--out names a file that ends in .onnx".into()));
    }
    let found = pictures_below(&args.calibration)?;
    if found.is_empty() {
        let folder = args.calibration.display();
        return Err(Failure::Usage(format!("--calibration: there are no photos (jpg, png, webp) below {folder}")));
    }
    let count = args.count.unwrap_or(match args.role {
        ModelRole::Embedder => FACES,
        ModelRole::Detector => CANVASES,
    });
    let chosen = spread(found, count.max(1));
    config.models.precision = Precision::Fp32;
    let (section, provider) = (config.models.clone(), config.worker.provider);
    let loading = tokio::task::spawn_blocking(move || artefacts::prepare(&section, provider));
    let artefacts = loading.await.map_err(interrupted)??;
    let (set, runtime) = (artefacts.models, artefacts.runtime);
    let samples = match args.role {
        ModelRole::Detector => samples::canvases(&chosen, &set.detector.manifest, &wiring::worker(&config).limits)?,
        ModelRole::Embedder => {
            let pipeline = worker::load_pipeline(&wiring::worker(&config), set.clone(), runtime.clone(), None).await?;
            samples::crops(&pipeline, &chosen, &set.embedder.manifest).await?
        }
    };
    let shelf = Shelf::open(&config.models)?;
    let working = tokio::task::spawn_blocking(move || work(&shelf, &set, &runtime, args, &samples));
    output::text(&working.await.map_err(interrupted)??);
    Ok(())
}

fn work(
    shelf: &Shelf,
    set: &ModelSet,
    runtime: &inference::OnnxRuntime,
    args: QuantizeArgs,
    samples: &Samples,
) -> Result<String, Failure> {
    let model = match args.role {
        ModelRole::Embedder => &set.embedder,
        ModelRole::Detector => &set.detector,
    };
    let shipped = std::fs::read(&model.path).map_err(|e| Failure::io("the model", &model.path, &e))?;
    let unfit =
        |e: compress::CompressError| Failure::Usage(format!("{} cannot be quantised: {e}", model.manifest.name));
    let quantiser = Quantiser::new(&shipped).map_err(unfit)?;
    let engine = |onnx: &[u8], expected: &Expected| {
        // One thread: the sums of a layer are added in one order, and the same photos give the same file.
        OrtEngine::load(runtime, onnx, &SessionOptions { max_batch: 1, ..SessionOptions::default() }, expected)
    };
    let observed = Expected { outputs: Vec::new(), output_dim: None, ..expected(&model.manifest) };
    let mut engine_of_floats = engine(&quantiser.observed(), &observed)?;
    let bar = samples::bar(2 * samples.len() as u64, "looking at ranges");
    let ranges = quantiser.calibrate::<Failed>(samples.len(), |i, observe| {
        let run = engine_of_floats.infer(samples.tensor(i), &mut |outputs| {
            for o in outputs {
                observe(o.name, o.shape, o.data);
            }
        });
        bar.inc(1);
        run.map(drop).map_err(Failed::Run)
    });
    bar.finish_and_clear();
    let quantised = quantiser.quantise(&ranges.map_err(|e| e.into_failure(unfit))?).map_err(unfit)?;

    let how = Quantised {
        source: model.manifest.sha256,
        calibration: samples.id(),
        samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        version: QUANTISER_VERSION,
    };
    let manifest = quantised_from(&model.manifest, &quantised, how);
    let mut float = engine(&model.onnx, &expected(&model.manifest))?;
    let mut narrow = engine(&quantised, &expected(&manifest))?;
    let comparison = compare::compare(&mut float, &mut narrow, &model.manifest, samples)?;
    let path = save_quantised(&shelf.cache, &model.manifest, &manifest, &quantised, args.out.as_deref())?;
    Ok(summary(&manifest, &path, shipped.len(), &comparison))
}

fn summary(manifest: &Manifest, path: &Path, shipped: usize, comparison: &compare::Comparison) -> String {
    let bytes = manifest.bytes.unwrap_or_default() as f64;
    let contract = manifest.contract().map_or_else(String::new, |c| format!("contract    {c}\n"));
    let calibration = manifest.quantised.as_ref().map_or_else(String::new, |q| {
        format!("calibration {} on {} samples, quantiser {}\n", &q.calibration[..16], q.samples, q.version)
    });
    format!(
        "{}: {}\n{calibration}{contract}size        {:.1} MB, {:.2}× smaller than the shipped file\n{comparison}",
        manifest.name,
        path.display(),
        bytes / 1e6,
        shipped as f64 / bytes.max(1.0),
    )
}

/// What a manifest says about its graph; a detector's canvas may have any size.
fn expected(manifest: &Manifest) -> Expected {
    Expected {
        model: manifest.name.clone(),
        item_shape: manifest.item_shape().to_vec(),
        outputs: manifest.output_names(),
        output_dim: manifest.embedder().map(|e| e.dim),
    }
}

/// Why a calibration ended.
enum Failed {
    Compress(compress::CompressError),
    Run(InferenceError),
}

impl From<compress::CompressError> for Failed {
    fn from(e: compress::CompressError) -> Self {
        Self::Compress(e)
    }
}

impl Failed {
    fn into_failure(self, unfit: impl Fn(compress::CompressError) -> Failure) -> Failure {
        match self {
            Self::Compress(e) => unfit(e),
            Self::Run(e) => e.into(),
        }
    }
}

fn interrupted(e: tokio::task::JoinError) -> Failure {
    Failure::Other(format!("quantising was interrupted: {e}"))
}
