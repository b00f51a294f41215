//! Float and 8 bits on the same samples: do they agree, and which is faster. Called by `quantize`.

use std::fmt;
use std::str::FromStr;

use inference::{Engine, OrtEngine, OutputRef};
use models::Manifest;
use vision::{BatchItem, Detection, DetectorHead, DetectorParams, OutputView};

use super::samples::Samples;
use crate::bench::median;
use crate::failure::Failure;

/// Samples on which the time is taken.
const TIMED: usize = 32;

/// Boxes that overlap at least this much (intersection over union) are the same face.
const SAME_FACE: f32 = 0.5;

/// What came of it.
pub struct Comparison {
    agreement: Agreement,
    float_ms: f64,
    narrow_ms: f64,
}

enum Agreement {
    /// Cosines of the two embeddings of a sample.
    Embeddings { mean: f64, least: f64 },
    /// Faces by float, those of them found by 8 bits, and faces by 8 bits alone.
    Faces { float: usize, both: usize, narrow_alone: usize },
}

/// What both gave for the samples so far.
#[derive(Default)]
struct Seen {
    cosines: Vec<f64>,
    float: usize,
    both: usize,
    narrow_alone: usize,
}

/// Runs both on every sample.
///
/// # Errors
/// A run that fails, outputs that cannot be read.
pub fn compare(
    float: &mut OrtEngine,
    narrow: &mut OrtEngine,
    manifest: &Manifest,
    samples: &Samples,
) -> Result<Comparison, Failure> {
    let (mut times, mut seen) = ([Vec::new(), Vec::new()], Seen::default());
    for i in 0..samples.len() {
        let (mut vectors, mut faces) = (Vec::new(), Vec::new());
        for (engine, times) in [&mut *float, &mut *narrow].into_iter().zip(&mut times) {
            let mut read = Ok(());
            let elapsed = engine.infer(samples.tensor(i), &mut |outputs| match manifest.detector() {
                None => vectors.push(outputs.first().map_or_else(Vec::new, |o| o.data.to_vec())),
                Some(_) => read = found(outputs, manifest).map(|f| faces.push(f)),
            })?;
            read?;
            if i < TIMED {
                times.push(1000.0 * elapsed.as_secs_f64());
            }
        }
        seen.add(&vectors, &faces);
    }
    let Seen { cosines, float, both, narrow_alone } = seen;
    let agreement = if manifest.detector().is_some() {
        Agreement::Faces { float, both, narrow_alone }
    } else {
        let least = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        Agreement::Embeddings { mean: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64, least }
    };
    let [float_ms, narrow_ms] = times.map(median);
    Ok(Comparison { agreement, float_ms, narrow_ms })
}

impl Seen {
    fn add(&mut self, vectors: &[Vec<f32>], faces: &[Vec<Detection>]) {
        if let [a, b] = vectors {
            self.cosines.push(cosine(a, b));
        }
        if let [a, b] = faces {
            let matched = a.iter().filter(|f| b.iter().any(|g| overlap(f, g) >= SAME_FACE)).count();
            self.float += a.len();
            self.both += matched;
            self.narrow_alone += b.len().saturating_sub(matched);
        }
    }
}

fn found(outputs: &[OutputRef<'_>], manifest: &Manifest) -> Result<Vec<Detection>, Failure> {
    let Some(detector) = manifest.detector() else { return Ok(Vec::new()) };
    let head = DetectorHead::from_str(detector.head.as_str()).map_err(|e| Failure::Other(e.to_string()))?;
    let params = DetectorParams {
        score_threshold: detector.score_threshold,
        iou_threshold: detector.nms_threshold,
        ..head.default_params()
    };
    let [width, height] = manifest.input.size;
    let views: Vec<_> = outputs.iter().map(|o| OutputView { name: o.name, shape: o.shape, data: o.data }).collect();
    let faces = head.decode(&views, (width, height), BatchItem::SINGLE, &params);
    faces.map_err(|e| Failure::Other(e.to_string()))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

fn overlap(a: &Detection, b: &Detection) -> f32 {
    let (a, b) = (a.bounding_box, b.bounding_box);
    let width = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
    let height = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
    let shared = width.max(0.0) * height.max(0.0);
    shared / (a.width * a.height + b.width * b.height - shared).max(f32::MIN_POSITIVE)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.agreement {
            Agreement::Embeddings { mean, least } => {
                writeln!(f, "agreement   cosine with the float embedding {mean:.4} on average, {least:.4} at least")?;
            }
            Agreement::Faces { float, both, narrow_alone } => {
                writeln!(f, "agreement   {both} of {float} faces found again, {narrow_alone} others")?;
            }
        }
        write!(
            f,
            "speed       {:.2} ms, the float graph that is served {:.2} ms, on one thread: {:.2}×",
            self.narrow_ms,
            self.float_ms,
            self.float_ms / self.narrow_ms.max(f64::MIN_POSITIVE),
        )
    }
}
