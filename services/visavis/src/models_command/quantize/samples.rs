//! What a model is fed, from photos: aligned faces for an embedder, canvases for a detector. Called by `quantize`.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ErrorCode;
use indicatif::{ProgressBar, ProgressStyle};
use inference::TensorRef;
use models::Manifest;
use prometheus::Registry;
use sha2::{Digest, Sha256};
use vision::{ChannelOrder, Letterbox, Limits, Normalisation, Rgb8};
use worker::{Context, Metrics, Pipeline, Timings};

use crate::failure::Failure;

/// No photo takes longer than this, however slow the machine.
const PER_PHOTO: Duration = Duration::from_secs(120);

/// Input tensors of one item each, all of one shape, and the pixels they were made from.
pub struct Samples {
    shape: [usize; 4],
    tensors: Vec<Vec<f32>>,
    pixels: Sha256,
}

impl Samples {
    fn new(manifest: &Manifest) -> Self {
        let [channels, height, width] = manifest.item_shape();
        Self { shape: [1, channels, height, width], tensors: Vec::new(), pixels: Sha256::new() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Sample `i`, if there are so many; else an empty one, which no engine takes.
    pub fn tensor(&self, i: usize) -> TensorRef<'_> {
        TensorRef { shape: &self.shape, data: self.tensors.get(i).map_or(&[], Vec::as_slice) }
    }

    /// Identifies the samples: the SHA-256 of their pixels, in order, as hex.
    pub fn id(&self) -> String {
        hex::encode(self.pixels.clone().finalize())
    }

    fn push(&mut self, picture: &Rgb8, how: &Normalisation) -> Result<(), Failure> {
        let mut tensor = vec![0.0; self.shape.iter().product()];
        how.write_planar(picture, &mut tensor).map_err(|e| Failure::Other(e.to_string()))?;
        self.pixels.update(picture.data());
        self.tensors.push(tensor);
        Ok(())
    }
}

/// The most prominent face of every photo, aligned. Photos that are not usable are left out.
///
/// # Errors
/// No face in any photo; a model that fails.
pub async fn crops(pipeline: &Pipeline, photos: &[PathBuf], manifest: &Manifest) -> Result<Samples, Failure> {
    let how = normalisation(manifest)?;
    let metrics = Metrics::register(&Registry::new()).map_err(|e| Failure::Other(e.to_string()))?;
    let bar = bar(photos.len() as u64, "looking for faces");
    let mut samples = Samples::new(manifest);
    for path in photos {
        let bytes = std::fs::read(path).map_err(|e| Failure::io("the photo", path, &e))?;
        let timings = Arc::new(Timings::new(metrics.stage_seconds.clone()));
        let context = Context { deadline: Instant::now() + PER_PHOTO, timings };
        match pipeline.detect(bytes.into(), 1, &context).await {
            Ok(found) => {
                if let Some(face) = found.faces.first() {
                    samples.push(&face.crop, &how)?;
                }
            }
            Err(p) if p.code == ErrorCode::InferenceFailed => return Err(Failure::Other(p.to_string())),
            Err(p) => tracing::warn!(photo = %path.display(), problem = %p, "left out"),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    some(samples, photos.len(), "a face")
}

/// Every photo on the detector's canvas. Photos that are not usable are left out.
///
/// # Errors
/// No usable photo.
pub fn canvases(photos: &[PathBuf], manifest: &Manifest, limits: &Limits) -> Result<Samples, Failure> {
    let how = normalisation(manifest)?;
    let mut samples = Samples::new(manifest);
    let [width, height] = manifest.input.size;
    for path in photos {
        let bytes = std::fs::read(path).map_err(|e| Failure::io("the photo", path, &e))?;
        match vision::decode(&bytes, limits) {
            Ok(picture) => {
                let fit = Letterbox::fit(picture.width(), picture.height(), width, height);
                let canvas = vision::letterbox(&picture, &fit).map_err(|e| Failure::Other(e.to_string()))?;
                samples.push(&canvas, &how)?;
            }
            Err(problem) => tracing::warn!(photo = %path.display(), %problem, "left out"),
        }
    }
    some(samples, photos.len(), "a usable picture")
}

fn some(samples: Samples, of: usize, what: &str) -> Result<Samples, Failure> {
    if samples.len() > 0 {
        return Ok(samples);
    }
    Err(Failure::Usage(format!(
        "--calibration: of {of} photos none holds {what}. A few hundred photos like those that will be seen are needed"
    )))
}

fn normalisation(manifest: &Manifest) -> Result<Normalisation, Failure> {
    let order = ChannelOrder::from_str(manifest.input.channel_order.as_str());
    let order = order.map_err(|e| Failure::Other(e.to_string()))?;
    Ok(Normalisation { order, mean: manifest.input.mean, scale: manifest.input.scale })
}

/// A bar for this many steps.
pub fn bar(steps: u64, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {pos} of {len} [{bar:32}] {eta:>4}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
