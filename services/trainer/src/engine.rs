//! Real learning: the training library on the crops of a run. Its files lie in memory while it learns; what is needed to go
//! on is kept as one sealed piece whenever the library has put its state down.

use std::{fs, path::PathBuf, time::SystemTime};

use bytes::Bytes;
use domain::{RunFailureCode, RunProgress};
use parking_lot::Mutex;
use training::{
    Event, Next, Outcome, Progress, Recipe, Samples, StepReport, TrainingError,
    backend::{Autograd, Backend, Part, Pass},
    recipe,
};
use vision::Rgb8;

use crate::{
    Halt,
    base::Base,
    dataset::Dataset,
    learner::{Learner, Learnt, Task, Watch},
    report::CURVES,
    scratch::{Folder, Scratch},
};

/// The library's files: its state, how it went, what it is.
const STATE: &str = "checkpoint.bin";
const METRICS: &str = "metrics.jsonl";
const RECORD: &str = "run.json";

/// Learns with the training library.
pub struct Engine {
    scratch: Scratch,
}

impl Engine {
    /// With its files in folders of `scratch`.
    #[must_use]
    pub const fn new(scratch: Scratch) -> Self {
        Self { scratch }
    }
}

impl Learner for Engine {
    fn learn(&self, task: &Task, watch: &dyn Watch) -> Result<Learnt, Halt> {
        let mut recipe = recipe(task)?;
        let model = onnx::decode(&task.base.onnx).map_err(untrainable)?;
        let folder = self.scratch.folder()?;
        if let Some(kept) = watch.checkpoint()? {
            folder.unpack(&kept)?;
            // As many as where it began: the number of threads is part of what comes out.
            recipe.threads = begun_with(&folder).unwrap_or(recipe.threads);
        }
        let photos = Photos { data: &task.data.train, missing: Mutex::new(None) };
        let mut telling = Telling { watch, folder: &folder, kept: written(&folder), halt: None };
        let outcome = training::train(&recipe, &model, &photos, folder.path(), &mut telling);
        // A reason to stop of our own comes before what the library made of it.
        let reason = photos.missing.into_inner().or(telling.halt);
        match (outcome, reason) {
            (_, Some(halt @ Halt::Draining)) => {
                watch.keep(&folder.pack(training::is_made_anew)?)?;
                Err(halt)
            }
            (_, Some(halt)) => Err(halt),
            (Err(e), None) => Err(failed(&e)),
            (Ok(Outcome::Stopped { .. }), None) => Err(Halt::internal("the training stopped without being told to")),
            (Ok(Outcome::Finished(done)), None) => {
                let read = |path: PathBuf| fs::read(path).map_err(Halt::internal);
                let curve = curve(&read(folder.path().join(METRICS))?);
                Ok(Learnt { onnx: read(done.model)?, papers: vec![(CURVES.into(), curve)] })
            }
        }
    }

    fn forward(&self, onnx: &[u8], batch: &[f32], n: usize) -> Result<Vec<f32>, Halt> {
        let model = onnx::decode(onnx).map_err(untrainable)?;
        let network = Autograd.open(&model, Part::Whole, recipe::NormMode::Frozen, 1);
        network.and_then(|mut network| network.forward(batch, n, Pass::Evaluation)).map_err(|e| failed(&e))
    }
}

/// The recipe of a run, with what the run decides on: the model's input, who is held out, how many threads.
fn recipe(task: &Task) -> Result<Recipe, Halt> {
    let settings: Vec<String> = task.overrides.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut recipe = Recipe::named(task.recipe.as_str(), &settings).map_err(|e| failed(&e))?;
    let Base { manifest, .. } = &*task.base;
    recipe.input = recipe::Input {
        channel_order: match manifest.input.channel_order {
            models::ChannelOrder::Rgb => recipe::Order::Rgb,
            models::ChannelOrder::Bgr => recipe::Order::Bgr,
        },
        mean: manifest.input.mean,
        scale: manifest.input.scale,
    };
    recipe.threads = task.threads;
    // Whom a model is measured on the run has held out already.
    recipe.split.test = 0.0;
    Ok(recipe)
}

/// Threads that a run was begun with, as the library wrote down.
fn begun_with(folder: &Folder) -> Option<usize> {
    let text = fs::read(folder.path().join(RECORD)).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
    usize::try_from(record["recipe"]["threads"].as_u64()?).ok()
}

/// The crops of a run as the library reads them.
struct Photos<'a> {
    data: &'a Dataset,
    /// Why one could not be read.
    missing: Mutex<Option<Halt>>,
}

impl Samples for Photos<'_> {
    fn identities(&self) -> &[String] {
        self.data.identities()
    }

    fn len(&self) -> usize {
        self.data.len()
    }

    fn identity(&self, sample: usize) -> usize {
        self.data.identity(sample)
    }

    fn crop(&self, sample: usize) -> Result<Rgb8, TrainingError> {
        self.data.crop(sample).map_err(|halt| {
            self.missing.lock().get_or_insert(halt);
            // Ends the training; the reason is told by whoever reads `missing`.
            TrainingError::Model("a crop is not there any more".into())
        })
    }

    fn lineage(&self) -> training::Lineage {
        training::Lineage { source: "retained crops whose subjects agree to training".into(), ..Default::default() }
    }
}

/// When the library last put its state down.
type Written = Option<(SystemTime, u64)>;

fn written(folder: &Folder) -> Written {
    let about = fs::metadata(folder.path().join(STATE)).ok()?;
    Some((about.modified().ok()?, about.len()))
}

/// Passes on what the library tells, and keeps its state.
struct Telling<'a> {
    watch: &'a dyn Watch,
    folder: &'a Folder,
    kept: Written,
    halt: Option<Halt>,
}

impl Telling<'_> {
    fn seen(&mut self, event: &Event<'_>) -> Result<(), Halt> {
        match event {
            Event::Step(step) => self.watch.step(progress(step))?,
            Event::Phase { .. } | Event::Validated(_) => self.watch.check()?,
        }
        let now = written(self.folder);
        if now.is_some() && now != self.kept {
            self.watch.keep(&self.folder.pack(training::is_made_anew)?)?;
            self.kept = now;
        }
        Ok(())
    }
}

impl Progress for Telling<'_> {
    fn at(&mut self, event: &Event<'_>) -> Next {
        match self.seen(event) {
            Ok(()) => Next::Continue,
            Err(halt) => {
                self.halt.get_or_insert(halt);
                Next::Stop
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people; seconds are not negative")]
fn progress(s: &StepReport) -> RunProgress {
    RunProgress {
        step: s.step,
        steps: s.of,
        loss: s.loss as f32,
        learning_rate: s.lr as f32,
        images_per_second: s.images_per_second as f32,
        eta_seconds: s.eta_seconds.is_finite().then(|| s.eta_seconds.max(0.0) as u64),
    }
}

/// The steps of the library's metrics, as the report reads them.
fn curve(metrics: &[u8]) -> Bytes {
    let step = |line: &[u8]| -> Option<String> {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        let step = line.get("step")?;
        let told =
            serde_json::json!({"step": step.get("step")?, "loss": step.get("loss")?, "learning_rate": step.get("lr")?});
        Some(format!("{told}\n"))
    };
    metrics.split(|b| *b == b'\n').filter_map(step).collect::<String>().into()
}

fn untrainable(e: impl std::fmt::Display) -> Halt {
    Halt::failed(RunFailureCode::ModelNotTrainable, e.to_string())
}

/// The library's failure as the run's.
fn failed(e: &TrainingError) -> Halt {
    use RunFailureCode as C;
    let code = match e {
        TrainingError::Recipe { .. } => C::InvalidRecipe,
        TrainingError::NoSamples => C::NoData,
        TrainingError::NothingUsable { .. } | TrainingError::Unreadable(_) => C::UnreadablePhotos,
        TrainingError::TooFewIdentities { .. } => C::OneIdentity,
        TrainingError::Diverged { .. } => C::LossNotFinite,
        TrainingError::Model(_) => C::ModelNotTrainable,
        TrainingError::DiskFull { .. } | TrainingError::NoRoom { .. } => C::StorageFull,
        TrainingError::Run { .. } | TrainingError::Io { .. } | TrainingError::Evaluation(_) => C::Internal,
    };
    Halt::failed(code, e.to_string())
}
