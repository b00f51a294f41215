//! `visavis bench models`: what ONNX Runtime alone makes of each model, as shipped, rewritten for serving and in 8 bits
//! where there is such a file, over batch sizes and threads. The bound of everything else.

use std::fs;
use std::time::{Duration, Instant};

use inference::{Engine, Expected, InferenceError, OnnxRuntime, OrtEngine, SessionOptions, TensorRef};
use models::{Manifest, Model, Target};
use runtime::Config;
use runtime::config::Precision;
use serde::Serialize;

use super::{Report, machine::cores, median};
use crate::artefacts::{self, Shelf};
use crate::cli::ModelsBenchArgs;
use crate::failure::Failure;

/// Most pixels of one batch: larger ones only show how memory runs out.
const MOST_PIXELS: usize = 8_000_000;

/// Turns in which the forms of a model take each other's place, so that a slow spell of the machine meets all.
const ROUNDS: usize = 5;

/// What `bench models` found.
#[derive(Debug, Serialize)]
pub struct ModelsReport {
    rows: Vec<Row>,
}

/// One form of a model at one batch size and number of threads.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    form: Form,
    /// Of the input, width and height.
    size: [u32; 2],
    threads: usize,
    batch: usize,
    /// Median milliseconds of a run.
    run_ms: f64,
    images_per_second: f64,
    /// Images a second over those of the file as shipped, one at a time on one thread.
    times_shipped: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// The file as it was fetched.
    Shipped,
    /// As it is served.
    Served,
    /// As it is served with `--precision int8`, or by its own name.
    Int8,
}

/// A form of a model, ready to be loaded.
struct Candidate {
    form: Form,
    manifest: Manifest,
    onnx: Vec<u8>,
}

/// Measures the configured models.
///
/// # Errors
/// Models that cannot be loaded or run.
pub async fn run(config: &Config, args: &ModelsBenchArgs) -> Result<ModelsReport, Failure> {
    let mut section = config.models.clone();
    // Whatever is configured: both forms are shown.
    section.precision = Precision::Fp32;
    let (batches, threads, size) = (args.batch.clone(), args.threads.clone(), args.canvas);
    let time = Duration::from_millis(args.millis.max(1));
    let provider = config.worker.provider;
    let measuring = tokio::task::spawn_blocking(move || {
        let artefacts = artefacts::prepare(&section, provider)?;
        let shelf = Shelf::open(&section)?;
        let provider = crate::wiring::provider(provider);
        let threads = match (threads.is_empty(), provider.on_gpu()) {
            (false, _) => threads,
            (true, true) => vec![1],
            (true, false) => (0..=cores().ilog2()).map(|i| 1 << i).collect(),
        };
        let mut rows = Vec::new();
        for model in [&artefacts.models.detector, &artefacts.models.embedder] {
            let mut candidates = candidates(&shelf, model)?;
            // A file in 8 bits is for processors.
            candidates.retain(|c| c.form != Form::Int8 || !provider.on_gpu());
            let size =
                size.filter(|_| model.manifest.detector().is_some()).map_or(model.manifest.input.size, |s| [s; 2]);
            let runs = Runs { runtime: &artefacts.runtime, candidates: &candidates, size, time, provider };
            let mut of_model = Vec::new();
            for threads in &threads {
                of_model.extend(runs.measure(*threads, &batches)?);
            }
            relate(&mut of_model);
            rows.extend(of_model);
        }
        Ok::<_, Failure>(ModelsReport { rows })
    });
    measuring.await.map_err(|e| Failure::Other(format!("the bench was interrupted: {e}")))?
}

fn candidates(shelf: &Shelf, model: &Model) -> Result<Vec<Candidate>, Failure> {
    let shipped = fs::read(&model.path).map_err(|e| Failure::io("the model", &model.path, &e))?;
    let manifest = &model.manifest;
    let mut found = vec![
        Candidate { form: Form::Shipped, manifest: manifest.clone(), onnx: shipped },
        Candidate { form: Form::Served, manifest: manifest.clone(), onnx: model.onnx.clone() },
    ];
    let from_it = |m: &&Manifest| m.quantised.as_ref().is_some_and(|q| q.source == manifest.sha256);
    if let Some(narrow) = shelf.catalogue.manifests().find(from_it) {
        let onnx = Model::load(narrow, &shelf.cache, true, Target::Cpu)?.onnx;
        found.push(Candidate { form: Form::Int8, manifest: narrow.clone(), onnx });
    }
    Ok(found)
}

/// What is measured of one model.
struct Runs<'a> {
    runtime: &'a OnnxRuntime,
    candidates: &'a [Candidate],
    size: [u32; 2],
    time: Duration,
    provider: inference::Provider,
}

impl Runs<'_> {
    fn measure(&self, threads: usize, batches: &[usize]) -> Result<Vec<Row>, Failure> {
        let [width, height] = self.size.map(|s| s as usize);
        let mut engines = self.candidates.iter().map(|c| self.load(c, threads)).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for batch in batches.iter().copied().filter(|b| *b > 0 && b * width * height <= MOST_PIXELS) {
            let shape = [batch, 3, height, width];
            let times = self.rounds(&mut engines, &shape)?;
            for (candidate, times) in self.candidates.iter().zip(times).filter(|(_, t)| !t.is_empty()) {
                let run_ms = median(times);
                rows.push(Row {
                    model: candidate.manifest.name.clone(),
                    form: candidate.form,
                    size: self.size,
                    threads,
                    batch,
                    run_ms,
                    images_per_second: 1000.0 * batch as f64 / run_ms.max(f64::MIN_POSITIVE),
                    times_shipped: None,
                });
            }
        }
        Ok(rows)
    }

    /// Milliseconds of each run, by candidate; none for one that does not take the batch or the size.
    fn rounds(&self, engines: &mut [OrtEngine], shape: &[usize; 4]) -> Result<Vec<Vec<f64>>, InferenceError> {
        let data = self.noise(shape);
        let input = TensorRef { shape, data: &data };
        let mut times = vec![Vec::new(); engines.len()];
        for round in 0..=ROUNDS {
            for (engine, times) in engines.iter_mut().zip(&mut times) {
                if shape[0] > engine.max_batch() || !engine.signature().input.fits(shape) {
                    continue;
                }
                let start = Instant::now();
                loop {
                    let elapsed = engine.infer(input, &mut |_| ())?;
                    // The first round sets up memory.
                    if round > 0 {
                        times.push(1000.0 * elapsed.as_secs_f64());
                    }
                    if round == 0 || start.elapsed() >= self.time {
                        break;
                    }
                }
            }
        }
        Ok(times)
    }

    /// Pixels as hard to predict as those of a photo, normalised as the model wants them. On a plain area the
    /// activations' branches are all guessed right, and a shipped SFace seems twice as fast as it is on faces.
    fn noise(&self, shape: &[usize; 4]) -> Vec<f32> {
        let input = self.candidates.first().map(|c| &c.manifest.input);
        let (mean, scale) = input.map_or(([0.0; 3], [1.0; 3]), |i| (i.mean, i.scale));
        let plane = shape[2] * shape[3];
        let mut state = 1u32;
        let pixel = |i: usize| {
            // Knuth's linear congruential generator; its upper bits are good enough.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let channel = i / plane % 3;
            ((state >> 24) as f32 - mean[channel]) * scale[channel]
        };
        (0..shape.iter().product()).map(pixel).collect()
    }

    fn load(&self, candidate: &Candidate, threads: usize) -> Result<OrtEngine, InferenceError> {
        let expected = Expected {
            model: candidate.manifest.name.clone(),
            item_shape: candidate.manifest.item_shape().to_vec(),
            outputs: candidate.manifest.output_names(),
            output_dim: None,
        };
        let options = SessionOptions { threads, provider: self.provider, ..SessionOptions::default() };
        OrtEngine::load(self.runtime, &candidate.onnx, &options, &expected)
    }
}

/// Sets each row against the shipped file, one image at a time on one thread.
fn relate(rows: &mut [Row]) {
    let base = rows.iter().find(|r| r.form == Form::Shipped && r.threads == 1 && r.batch == 1);
    let Some(base) = base.map(|r| r.images_per_second) else { return };
    for row in rows {
        row.times_shipped = Some(row.images_per_second / base);
    }
}

impl Report for ModelsReport {
    fn table(&self) -> String {
        let mut text =
            String::from("MODEL            FORM     SIZE      THREADS  BATCH   MS A RUN   IMAGES/S  TIMES SHIPPED\n");
        for r in &self.rows {
            let form = match r.form {
                Form::Shipped => "shipped",
                Form::Served => "served",
                Form::Int8 => "int8",
            };
            let size = format!("{}x{}", r.size[0], r.size[1]);
            let times = r.times_shipped.map_or_else(|| "-".to_owned(), |t| format!("{t:.2}"));
            text.push_str(&format!(
                "{:16} {form:8} {size:9} {:7} {:6} {:10.3} {:10.1} {times:>14}\n",
                r.model, r.threads, r.batch, r.run_ms, r.images_per_second
            ));
        }
        text
    }
}
