//! What a run leaves behind as JSON: everything that the page shows and that later runs are held against.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    chaos::Happened,
    failure::Failure,
    figures::{Measures, Second},
    scenario::{Flow, Scenario},
    search::Step,
    slo::Verdict,
    watch::Series,
};

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// Of this form.
    pub form: u32,
    /// Name of the scenario.
    pub name: String,
    /// The scenario.
    pub scenario: Scenario,
    /// What it ran on.
    pub machine: Machine,
    /// What it ran against.
    pub stand: String,
    /// When it began, seconds since 1970.
    pub began: u64,
    /// Requests a second that the service carried with many callers that wait, if that was measured or told.
    pub capacity: Option<f64>,
    /// What was sent.
    pub flows: Vec<Flow>,
    /// Named figures.
    pub measures: Measures,
    /// Objectives.
    pub verdicts: Vec<Verdict>,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// Points of (share, ms).
    pub curve: Vec<[f64; 2]>,
    /// How often each answer came.
    pub answers: BTreeMap<String, u64>,
    /// Memory of each process.
    pub memory: Vec<Series>,
    /// What happened to the service.
    pub events: Vec<Happened>,
    /// Rates that were tried.
    pub search: Vec<Step>,
}

/// What a run ran on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// Whether the service was built with optimisations, as far as this program can tell: it is built with it.
    pub optimised: bool,
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(':')).map(|(_, n)| n.trim());
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor: name.unwrap_or("unknown").to_owned(),
            optimised: !cfg!(debug_assertions),
        }
    }
}

impl Document {
    /// The present form.
    pub const FORM: u32 = 1;

    /// Whether every objective holds.
    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|v| v.holds)
    }

    /// Reads one.
    ///
    /// # Errors
    /// A file that is none.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
        let document: Self = serde_json::from_str(&text).map_err(|e| Failure::file(path, &e))?;
        if document.form != Self::FORM {
            return Err(Failure::file(path, &format!("has form {}, this program knows {}", document.form, Self::FORM)));
        }
        Ok(document)
    }
}

/// Writes anything as JSON, and its folder if it is missing.
///
/// # Errors
/// The file system's.
pub fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::file(path, &e))?;
    write_text(path, &(text + "\n"))
}

/// Writes text, and its folder if it is missing.
///
/// # Errors
/// The file system's.
pub fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
    }
    fs::write(path, text).map_err(|e| Failure::file(path, &e))
}
