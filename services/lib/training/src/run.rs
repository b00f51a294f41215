//! The folder of a run: its names, what run.json says of it, and its metrics. A folder is of one run: the same recipe,
//! model and photos go on where it was, anything else is refused.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Recipe, TrainingError,
    files::{read, read_json, write_json, write_whole},
    progress::{StepReport, ValidationReport},
    samples::Lineage,
};

/// Schema of run.json.
pub const SCHEMA: &str = "visavis.train.run/1";

/// Steps of a run, in their order; each can be begun again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Photos are read and split, the data report is made.
    Prepare,
    /// Weights change.
    Train,
    /// Both models are measured on people who were held out.
    Evaluate,
    /// The model and the report are written.
    Export,
}

/// What run.json says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA`].
    pub schema: String,
    /// Id: a hash of everything that decides on the outcome.
    pub id: String,
    /// Version of the program.
    pub visavis: String,
    /// The recipe with every value, and the number of threads that was taken.
    pub recipe: Recipe,
    /// SHA-256 of the model that training begins with.
    pub init_sha256: String,
    /// The photos.
    pub dataset: Dataset,
    /// Where photos and model come from.
    pub lineage: Lineage,
    /// Stages that are done.
    pub done: Vec<Stage>,
    /// SHA-256 of the model that came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
}

/// The photos of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// SHA-256 over labels and pixels.
    pub sha256: String,
    /// People with usable photos.
    pub identities: usize,
    /// Usable photos.
    pub samples: usize,
}

/// A line of metrics.jsonl.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// A step.
    Step(StepReport),
    /// A validation.
    Validation(ValidationReport),
}

/// An open run.
pub(crate) struct Run {
    folder: PathBuf,
    /// What run.json says.
    pub record: RunRecord,
}

impl Run {
    /// Opens a folder for this run, a new one or its own.
    ///
    /// # Errors
    /// A folder of another run, or one that cannot be used.
    pub fn open(
        folder: &Path,
        recipe: &Recipe,
        init: &[u8],
        (dataset, lineage): (Dataset, Lineage),
    ) -> Result<Self, TrainingError> {
        fs::create_dir_all(folder).map_err(|e| TrainingError::write(folder, e))?;
        let init_sha256 = hex::encode(Sha256::digest(init));
        let text = recipe.to_toml()?;
        let id = Sha256::new().chain_update(&text).chain_update(&init_sha256).chain_update(&dataset.sha256).finalize();
        let fresh = RunRecord {
            schema: SCHEMA.to_owned(),
            id: hex::encode(&id[..16]),
            visavis: env!("CARGO_PKG_VERSION").to_owned(),
            recipe: recipe.clone(),
            init_sha256,
            dataset,
            lineage,
            done: Vec::new(),
            model_sha256: None,
        };
        let path = folder.join("run.json");
        let record = match read_json::<RunRecord>(&path)? {
            Some(there) if there.id == fresh.id => there,
            Some(there) => return Err(TrainingError::run(folder, differs(&there, &fresh))),
            None => fresh,
        };
        let run = Self { folder: folder.to_owned(), record };
        run.save()?;
        write_whole(&run.path("recipe.toml"), text.as_bytes())?;
        Ok(run)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Notes that a stage is done.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn done(&mut self, stage: Stage) -> Result<(), TrainingError> {
        if !self.record.done.contains(&stage) {
            self.record.done.push(stage);
        }
        self.save()
    }

    fn save(&self) -> Result<(), TrainingError> {
        write_json(&self.path("run.json"), &self.record)
    }

    /// Appends to metrics.jsonl.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note(&self, metric: &Metric) -> Result<(), TrainingError> {
        let path = self.path("metrics.jsonl");
        let line = serde_json::to_string(metric).map_err(|e| TrainingError::run(&path, e.to_string()))? + "\n";
        let appended = OpenOptions::new().create(true).append(true).open(&path);
        appended.and_then(|mut f| f.write_all(line.as_bytes())).map_err(|e| TrainingError::write(&path, e))
    }

    /// All lines of metrics.jsonl. One that was cut by a kill is left out.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn metrics(&self) -> Result<Vec<Metric>, TrainingError> {
        let bytes = read(&self.path("metrics.jsonl"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect())
    }

    /// Takes lines after a step, and after the last validation, out: they are of a time that did not happen.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn forget_after(&self, step: u64, validated: Option<u64>) -> Result<(), TrainingError> {
        let happened = |m: &Metric| match m {
            Metric::Step(s) => s.step <= step,
            Metric::Validation(v) => validated.is_some_and(|last| v.step <= last),
        };
        let kept = self.metrics()?.into_iter().filter(happened);
        let lines: Result<Vec<String>, _> = kept.map(|m| serde_json::to_string(&m).map(|l| l + "\n")).collect();
        let path = self.path("metrics.jsonl");
        let lines = lines.map_err(|e| TrainingError::run(&path, e.to_string()))?;
        write_whole(&path, lines.concat().as_bytes())
    }
}

/// In a sentence, what a folder's run has that this one has not.
fn differs(there: &RunRecord, fresh: &RunRecord) -> String {
    let what = if there.dataset.sha256 != fresh.dataset.sha256 {
        "its photos were others"
    } else if there.init_sha256 != fresh.init_sha256 {
        "it began with another model"
    } else {
        "its recipe was another one (recipe.toml in it)"
    };
    format!("the folder is of another run: {what}. Name another folder, or delete it to begin anew")
}
