//! The training role in this process: what it needs from the configuration, and its start. Used by `up.rs`.

use std::sync::Arc;

use prometheus::Registry;
use runtime::Config;
use runtime::config::ModelsSection;
use trainer::{Engine, Models, Scratch, TrainerConfig, TrainerDeps, TrainerError};

use crate::artefacts;
use crate::engines::Engines;
use crate::failure::Failure;
use crate::roles::Role;

/// Why this process cannot be a trainer, if it cannot.
pub fn unable(config: &Config, engines: &Engines) -> Option<String> {
    if engines.objects.is_none() {
        return Some(TrainerError::Nowhere.to_string());
    }
    Scratch::open(&config.trainer.scratch_dir, engines.keyring.is_some()).err().map(|e| e.to_string())
}

/// Starts a trainer once its models are there. Blocks for as long as a download takes, on a thread that may.
///
/// # Errors
/// No place for checkpoints, models that are not to be had.
pub async fn start(config: &Config, engines: &Engines, registry: &Registry) -> Result<Role<TrainerError>, Failure> {
    let (crops, objects, candidates) = (engines.crops.clone(), engines.objects.clone(), engines.models.clone());
    let (Some(crops), Some(objects), Some(candidates)) = (crops, objects, candidates) else {
        return Err(Failure::Usage(TrainerError::Nowhere.to_string()));
    };
    let scratch = Scratch::open(&config.trainer.scratch_dir, engines.keyring.is_some());
    let scratch = scratch.map_err(|e| Failure::Usage(e.to_string()))?;
    let section = config.models.clone();
    let ready = tokio::task::spawn_blocking(move || bring(&section)).await;
    let (models, runtime) = ready.map_err(|e| Failure::Other(format!("the start was interrupted: {e}")))??;
    let deps = TrainerDeps {
        store: engines.store.clone(),
        queue: engines.queue.clone(),
        registry: Arc::new(candidates),
        objects,
        crops,
        models,
        runtime,
        learner: Arc::new(Engine::new(scratch)),
        metrics: registry.clone(),
    };
    let config = wire(config);
    Ok(Role::spawn(|stop| trainer::run(config, deps, stop)))
}

/// The catalogue with what is in use fetched, and the runtime loaded.
fn bring(section: &ModelsSection) -> Result<(Models, inference::OnnxRuntime), Failure> {
    let shelf = artefacts::Shelf::open(section)?;
    let runtime = artefacts::models_and_runtime(&shelf, section)?;
    let artefacts::Shelf { catalogue, cache } = shelf;
    Ok((Models { catalogue, cache, selection: artefacts::selection(section) }, runtime))
}

fn wire(config: &Config) -> TrainerConfig {
    let t = &config.trainer;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    TrainerConfig {
        threads: if t.threads == 0 { (cores / 2).max(1) } else { t.threads },
        niceness: t.niceness,
        min_idle: t.min_idle(),
        crop_bytes: t.crop_bytes,
        report_every: t.report_every(),
        grace: config.shutdown.grace(),
        ..TrainerConfig::default()
    }
}
