//! What a run does, as one TOML file: every value has a name, a default and a way to be set from the command line.
//! Unknown names are errors. Named recipes are embedded. Callers: `visavis train`, the trainer role.

mod parts;
mod source;

use serde::{Deserialize, Serialize};
use vision::Augment;

use crate::TrainingError;

pub use parts::{
    Batch, Checkpointing, Distill, Head, Input, LossKind, LossPart, Method, NormMode, OptimiserKind, OptimiserPart,
    Order, Prototypes, Regularise, SplitPart, Tail, ValidationPart,
};
pub use source::NAMES;

/// A recipe. Two runs with equal recipes, data, model and number of threads end with the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What it is called in reports.
    pub name: String,
    /// For people.
    pub description: String,
    /// Start of all that is random.
    pub seed: u64,
    /// Threads; 0 takes one per core, and the number taken is written down.
    pub threads: usize,
    /// How often every photo is seen.
    pub epochs: f64,
    /// What of the network learns.
    pub method: Method,
    /// How pixels become input. Belongs to the model: whoever starts a run sets it from the manifest.
    pub input: Input,
    /// Photos for a step, and at a time.
    pub batch: Batch,
    /// What is minimised.
    pub loss: LossPart,
    /// Staying close to the model that training began with.
    pub distill: Distill,
    /// How weights move.
    pub optimiser: OptimiserPart,
    /// Against learning by heart.
    pub regularise: Regularise,
    /// For the method `tail`.
    pub tail: Tail,
    /// For the method `head`.
    pub head: Head,
    /// Who is held out.
    pub split: SplitPart,
    /// When and on what it is seen how good the model has become.
    pub validation: ValidationPart,
    /// How often the state is put down.
    pub checkpoint: Checkpointing,
    /// What every photo goes through while training.
    pub augment: Augment,
    /// What the cameras in use do to a face: training, validation and test see photos through this as well.
    pub domain: Augment,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "custom".into(),
            description: String::new(),
            seed: 1,
            threads: 0,
            epochs: 10.0,
            method: Method::Full,
            input: Input::default(),
            batch: Batch::default(),
            loss: LossPart::default(),
            distill: Distill::default(),
            optimiser: OptimiserPart::default(),
            regularise: Regularise::default(),
            tail: Tail::default(),
            head: Head::default(),
            split: SplitPart::default(),
            validation: ValidationPart::default(),
            checkpoint: Checkpointing::default(),
            augment: Augment::default(),
            domain: Augment::default(),
        }
    }
}

impl Recipe {
    /// One of [`NAMES`], or the text of a file, with `key=value` settings on top. A file may name another recipe as its
    /// `base`.
    ///
    /// # Errors
    /// [`TrainingError::Recipe`] with what is wrong and where.
    pub fn named(name: &str, settings: &[String]) -> Result<Self, TrainingError> {
        source::named(name, settings)
    }

    /// As [`Self::named`], from a file's text; `origin` is what errors call it.
    ///
    /// # Errors
    /// [`TrainingError::Recipe`].
    pub fn parse(origin: &str, text: &str, settings: &[String]) -> Result<Self, TrainingError> {
        source::parse(origin, text, settings)
    }

    /// The recipe as TOML, with every value there is.
    ///
    /// # Errors
    /// Never for a recipe that was read; the writer's own word otherwise.
    pub fn to_toml(&self) -> Result<String, TrainingError> {
        toml::to_string(self).map_err(|e| self.wrong(e.to_string()))
    }

    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// [`TrainingError::Recipe`] naming the value.
    pub fn check(&self) -> Result<(), TrainingError> {
        self.augment.check().map_err(|e| self.wrong(format!("augment: {e}")))?;
        self.domain.check().map_err(|e| self.wrong(format!("domain: {e}")))?;
        let (o, l, s) = (&self.optimiser, &self.loss, &self.split);
        let share = |v: f32| (0.0..=1.0).contains(&v);
        let below_one = |v: f32| (0.0..1.0).contains(&v);
        let rules = [
            (self.epochs > 0.0 && self.epochs <= 1e6, "epochs: above 0"),
            (self.batch.micro >= 1 && self.batch.size >= self.batch.micro, "batch: 1 ≤ micro ≤ size"),
            (
                self.batch.micro > 0 && self.batch.size.is_multiple_of(self.batch.micro),
                "batch.size: a multiple of batch.micro",
            ),
            (o.learning_rate > 0.0 && o.learning_rate.is_finite(), "optimiser.learning_rate: above 0"),
            (o.classifier_factor > 0.0 && o.classifier_factor.is_finite(), "optimiser.classifier_factor: above 0"),
            (o.weight_decay >= 0.0 && o.weight_decay.is_finite(), "optimiser.weight_decay: 0 or above"),
            (
                o.betas.iter().all(|b| below_one(*b)) && below_one(o.momentum),
                "optimiser: betas and momentum lie from 0 to below 1",
            ),
            (o.epsilon > 0.0, "optimiser.epsilon: above 0"),
            (share(o.warmup) && share(o.last), "optimiser: warmup and last are shares, 0 to 1"),
            (o.clip >= 0.0, "optimiser.clip: above 0, or 0 for none"),
            (l.scale > 0.0 && l.scale.is_finite(), "loss.scale: above 0"),
            (l.margin.is_none_or(|m| (0.0..=1.5).contains(&m)), "loss.margin: 0 to 1.5"),
            (
                below_one(l.label_smoothing) && share(l.margin_warmup),
                "loss: label_smoothing and margin_warmup are shares",
            ),
            (self.distill.features >= 0.0 && self.distill.logits >= 0.0, "distill: weights are 0 or above"),
            (self.distill.temperature > 0.0, "distill.temperature: above 0"),
            (self.regularise.dropout.is_none_or(below_one), "regularise.dropout: 0 to below 1"),
            (below_one(self.regularise.ema), "regularise.ema: 0 for none, or below 1"),
            (self.tail.share > 0.0 && self.tail.share <= 1.0, "tail.share: above 0, at most 1"),
            (self.head.views >= 1, "head.views: at least 1"),
            (s.validation > 0.0 && s.test >= 0.0, "split: validation is above 0, test 0 or above"),
            (self.validation.every > 0.0, "validation.every: above 0"),
            (self.validation.fmr > 0.0 && self.validation.fmr < 1.0, "validation.fmr: between 0 and 1"),
            (self.validation.most_pairs >= 1000, "validation.most_pairs: at least 1000"),
            (self.input.scale.iter().all(|v| *v != 0.0 && v.is_finite()), "input.scale: not 0"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(self.wrong((*rule).to_owned())),
            None => Ok(()),
        }
    }

    fn wrong(&self, reason: String) -> TrainingError {
        TrainingError::Recipe { origin: self.name.clone(), reason }
    }

    /// Number of threads that `threads` stands for here.
    #[must_use]
    pub fn threads_here(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }
}

#[cfg(test)]
mod tests;
