//! `visavis train`: photos of people, one folder each, through the service's own detector and alignment, then through a
//! recipe of the training library; the result is a model with its manifest, and a page about it.

mod crops;
mod folder;
mod init;
mod parity;
mod preview;
mod result;
mod terminal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::{Config, Shutdown, telemetry};
use training::{Outcome, Recipe, TrainingError};

use crate::cli::{RecipeArgs, TrainArgs, TrainCommand};
use crate::failure::Failure;
use crate::output;
use init::Init;
use terminal::Terminal;

/// Nothing drains here: a second signal ends at once.
const GRACE: Duration = Duration::from_secs(60);

/// Trains, or previews.
///
/// # Errors
/// Photos, a recipe or a model that cannot be used; what training itself came to.
pub async fn run(config: Config, args: TrainArgs) -> Result<(), Failure> {
    telemetry::init(&config.telemetry)?;
    if let Some(TrainCommand::Preview(args)) = args.command {
        return preview::run(&config, &args).await;
    }
    let data = args.photos.data.clone().unwrap_or_default();
    let shutdown = Shutdown::on_signals(GRACE).map_err(|e| Failure::Other(format!("signals cannot be heard: {e}")))?;
    let stop = shutdown.token();

    let named = args.init.clone();
    let init = init::resolve(&config.models, named.as_deref(), args.recipe.seed())?;
    let recipe = recipe(&args, &init)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("train-{}", recipe.name)));
    let Some(cached) = crops::collect(&config, &data, &out, args.photos.aligned, &stop).await? else {
        return stopped(&out, "photos were being aligned");
    };
    let samples = folder::FolderSamples::new(cached, init.lineage(&data));
    let working = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::new(stop);
        let outcome = training::train(&recipe, &init.model, &samples, &out, &mut terminal);
        terminal.finish();
        match outcome.map_err(failed)? {
            Outcome::Stopped { step: 0, .. } => stopped(&out, "photos were being looked at"),
            Outcome::Stopped { step, of } => stopped(&out, &format!("step {step} of {of} was done")),
            Outcome::Finished(finished) => {
                let manifest = result::write_manifest(&init, &recipe, &finished)?;
                let parity = parity::check(&config.models, &manifest, (&finished, &samples), &recipe)?;
                output::text(&result::summary(&finished, &manifest, parity));
                Ok(())
            }
        }
    });
    working.await.unwrap_or_else(|e| Err(Failure::Other(format!("training was interrupted: {e}"))))
}

fn stopped(out: &Path, at: &str) -> Result<(), Failure> {
    output::text(&format!("stopped while {at}; the same command goes on from there ({})", out.display()));
    Ok(())
}

/// The recipe for this model, with what the command line sets.
fn recipe(args: &TrainArgs, init: &Init) -> Result<Recipe, Failure> {
    let default = if init.is_random { "from-scratch" } else { "fine-tune-full" };
    let mut recipe = args.recipe.read(default)?;
    recipe.input = init.input();
    if let Some(threads) = args.threads {
        recipe.threads = threads;
    }
    Ok(recipe)
}

impl RecipeArgs {
    /// Reads the recipe.
    fn read(&self, default: &str) -> Result<Recipe, Failure> {
        let name = self.recipe.as_deref().unwrap_or(default);
        let file = Path::new(name);
        let read = if file.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Failure::Usage(format!("the recipe {name} cannot be read: {e}")))?;
            Recipe::parse(name, &text, &self.settings)
        } else {
            Recipe::named(name, &self.settings)
        };
        read.map_err(failed)
    }

    /// The seed that the command line sets, or the recipes' own: an architecture's weights begin with it.
    fn seed(&self) -> u64 {
        self.read("from-scratch").map_or(1, |r| r.seed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "fits map_err")]
fn failed(e: TrainingError) -> Failure {
    match &e {
        TrainingError::DiskFull { .. } => Failure::Unavailable(e.to_string()),
        _ if e.code().status() < 500 => Failure::Usage(e.to_string()),
        _ => Failure::Other(e.to_string()),
    }
}
