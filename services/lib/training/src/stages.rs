//! A run from photos to a model: `prepare → train → evaluate → export`. Each stage finds what the one before has put
//! into the run's folder, and can be begun again. Callers: `visavis train`, the trainer role.

mod evaluate;
mod export;
mod learn;
mod prepare;
mod state;
mod teacher;

use std::path::{Path, PathBuf};

use evaluation::document::Training;
use onnx::ModelProto;

use crate::{
    Recipe, Samples, TrainingError,
    backend::{Backend, Network},
    features::Features,
    inputs::{Inputs, Pixels},
    progress::Progress,
    run::Stage,
};

use learn::Ended;

/// How a run ended, for now.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// There is a model.
    Finished(Box<Finished>),
    /// It was told to stop; the same call goes on from there.
    Stopped {
        /// Steps that were done.
        step: u64,
        /// Steps in all; 0 where it was stopped before that was known.
        of: u64,
    },
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The model, in the folder of the run.
    pub model: PathBuf,
    /// The page about it.
    pub report: PathBuf,
    /// Step of the weights that were kept: the best on validation, never simply the last.
    pub best_step: u64,
    /// Steps that were done.
    pub steps: u64,
    /// What the page shows.
    pub document: Training,
    /// Photos as they are with the model's own templates (length one) of them, to compare another engine with.
    pub probes: Vec<(usize, Vec<f32>)>,
}

/// [`train_with`] the engine on processors.
///
/// # Errors
/// [`TrainingError`].
pub fn train(
    recipe: &Recipe,
    model: &ModelProto,
    samples: &dyn Samples,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Outcome, TrainingError> {
    train_with(&crate::backend::Autograd, (recipe, model), samples, folder, progress)
}

/// Trains a model on photos, in a folder of the run's own. Goes on where it was if the folder holds this very run; same
/// recipe, model, photos and number of threads: same bytes.
///
/// # Errors
/// [`TrainingError`]; the model that was given is untouched in any case.
pub fn train_with(
    backend: &dyn Backend,
    (recipe, model): (&Recipe, &ModelProto),
    samples: &dyn Samples,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Outcome, TrainingError> {
    recipe.check()?;
    let recipe = Recipe { threads: recipe.threads_here(), ..recipe.clone() };
    let begun = prepare::begin(&recipe, model, samples, folder, progress)?;
    let Some((mut run, photos)) = begun else { return Ok(Outcome::Stopped { step: 0, of: 0 }) };
    let mut open = Open::new(backend, &recipe, model, samples)?;
    let Some(prepared) = prepare::finish(&mut run, &mut open, photos, progress)? else {
        return Ok(Outcome::Stopped { step: 0, of: 0 });
    };
    run.done(Stage::Prepare)?;
    let ended = learn::learn(&run, &prepared, &mut open, progress)?;
    let (step, of) = match ended {
        Ended::Stopped { step, of } => return Ok(Outcome::Stopped { step, of }),
        Ended::Finished { step, of } => (step, of),
    };
    run.done(Stage::Train)?;
    let Some(measured) = evaluate::evaluate(&run, &prepared, &mut open, progress)? else {
        return Ok(Outcome::Stopped { step, of });
    };
    run.done(Stage::Evaluate)?;
    let finished = export::export(&mut run, (&prepared, measured), &mut open, (model, step))?;
    Ok(Outcome::Finished(Box::new(finished)))
}

/// The network of a run with what flows into it.
struct Open<'a> {
    recipe: &'a Recipe,
    samples: &'a dyn Samples,
    backend: &'a dyn Backend,
    /// The model with the recipe's Dropout.
    working: ModelProto,
    /// With the method `head`: the value that is computed once for each photo.
    features: Option<String>,
    network: Box<dyn Network>,
    /// Features of the photos, once they are there.
    cached: Option<Features>,
}

impl<'a> Open<'a> {
    fn new(
        backend: &'a dyn Backend,
        recipe: &'a Recipe,
        model: &ModelProto,
        samples: &'a dyn Samples,
    ) -> Result<Self, TrainingError> {
        use crate::{backend::Part, graph, recipe::Method};
        let mut working = model.clone();
        if let Some(share) = recipe.regularise.dropout {
            graph::set_dropout(&mut working, share);
        }
        let features = (recipe.method == Method::Head).then(|| graph::last_features(&working)).transpose()?;
        let from = match (recipe.method, &recipe.tail.from) {
            (Method::Tail, Some(from)) => Some(from.clone()),
            (Method::Tail, None) => Some(graph::tail_from(&working, recipe.tail.share)?),
            _ => None,
        };
        let part = match (&features, &from) {
            (Some(value), _) => Part::After(value),
            (None, Some(value)) => Part::From(value),
            (None, None) => Part::Whole,
        };
        let network = backend.open(&working, part, recipe.regularise.norm, recipe.threads)?;
        Ok(Self { recipe, samples, backend, working, features, network, cached: None })
    }

    /// Pixels, through augmentation and domain.
    fn pixels(&self) -> Pixels<'a> {
        Pixels {
            samples: self.samples,
            normalisation: self.recipe.input.normalisation(),
            augment: self.recipe.augment,
            domain: self.recipe.domain,
            seed: self.recipe.seed,
        }
    }

    /// The network, and what flows into it.
    fn split(&mut self) -> (&mut dyn Network, Box<dyn Inputs + '_>) {
        let pixels = self.pixels();
        let inputs: Box<dyn Inputs + '_> = match &self.cached {
            Some(features) => Box::new(features),
            None => Box::new(pixels),
        };
        (self.network.as_mut(), inputs)
    }
}
