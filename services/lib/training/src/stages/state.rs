//! What changes while a run learns, from a checkpoint or from the start: the weights are the network's, everything else
//! is here. Called by the loop.

use std::time::{Duration, Instant};

use vision::Random;

use super::{
    learn::{Ended, Plan},
    prepare::{Prepared, embedding},
};
use crate::{
    Recipe, Samples, TrainingError,
    backend::{Kind, NamedValues, Network, Parameter, Pass},
    checkpoint::{Checkpoint, Place},
    embed::templates,
    inputs::{Inputs, View},
    loader::Batch,
    loss::{Criterion, Evaluated, Prototypes, Teacher},
    optimise::{Moments, Optimiser, Schedule, clip, follow, gradient_length},
    pairs::{Pair, comparisons, measure, pairs},
    progress::{Phase, Progress, StepReport, ValidationReport},
    recipe::{self, LossKind},
    run::Run,
};

/// Streams of the run's seed: fresh prototypes, and Dropout.
const FRESH: u64 = 0xf4_e5;
const DROPOUT: u64 = 0xd4_09;

/// Everything but the network.
pub(super) struct State<'a> {
    run: &'a Run,
    recipe: &'a Recipe,
    samples: &'a dyn Samples,
    prepared: &'a Prepared,
    pub plan: Plan,
    pub place: Place,
    /// Prototypes, and for Softmax biases.
    classifier: Vec<Parameter>,
    optimiser: Optimiser,
    schedule: Schedule,
    /// Moving average of the network's parameters; empty for none.
    average: Vec<Vec<f32>>,
    class_of: std::collections::BTreeMap<usize, usize>,
    pairs: Vec<Pair>,
    sums: Sums,
    saved: Instant,
}

/// Of the step under way.
#[derive(Clone, Copy, Default)]
struct Sums {
    loss: f64,
    classification: f64,
    distillation: f64,
    correct: usize,
    photos: usize,
}

impl<'a> State<'a> {
    /// From the run's checkpoint, which it puts into the network, or from the start.
    pub fn begin(
        run: &'a Run,
        prepared: &'a Prepared,
        (recipe, samples): (&'a Recipe, &'a dyn Samples),
        plan: Plan,
        network: &mut dyn Network,
    ) -> Result<Self, TrainingError> {
        let classifier = fresh_classifier(recipe, prepared, network.dim());
        let lengths = network.parameters().iter().chain(&classifier).map(|p| p.value.len());
        let optimiser = Optimiser::new(recipe.optimiser, lengths.collect::<Vec<_>>().into_iter());
        let average = match recipe.regularise.ema > 0.0 {
            true => network.parameters().iter().map(|p| p.value.clone()).collect(),
            false => Vec::new(),
        };
        let photos = &prepared.photos;
        let mut state = Self {
            run,
            recipe,
            samples,
            prepared,
            plan,
            place: Place::default(),
            classifier,
            optimiser,
            schedule: Schedule::new(&recipe.optimiser, plan.steps),
            average,
            class_of: photos.train.iter().copied().zip(photos.labels.iter().copied()).collect(),
            pairs: pairs(&identities(samples, &photos.validation), recipe.validation.most_pairs, recipe.seed),
            sums: Sums::default(),
            saved: Instant::now(),
        };
        if let Some(checkpoint) = Checkpoint::read(&run.path("checkpoint.bin"), &run.record.id)? {
            state.restore(&checkpoint, network)?;
        }
        Ok(state)
    }

    /// Rate of the step under way.
    pub fn rate(&mut self) -> f64 {
        self.sums = Sums::default();
        self.classifier.iter_mut().for_each(|p| p.gradient.fill(0.0));
        self.schedule.at(self.place.step)
    }

    /// Adds the gradients of a part of a step.
    pub fn accumulate(&mut self, network: &mut dyn Network, batch: &Batch, part: u64) -> Result<(), TrainingError> {
        let n = batch.items.len();
        let seed = Random::of(&[self.recipe.seed, DROPOUT, self.place.step, part]).draw();
        let embeddings = network.forward(&batch.values, n, Pass::Training { seed })?;
        let evaluated = self.loss(&embeddings, &batch.items);
        if !evaluated.loss.is_finite() {
            return Err(TrainingError::Diverged { step: self.place.step + 1, what: "the loss" });
        }
        // Gradients are of the mean over the whole batch, of which this is a part.
        let share = 1.0 / self.plan.batch as f32;
        let gradient: Vec<f32> = evaluated.embeddings.iter().map(|g| g * share).collect();
        network.backward(&gradient)?;
        for (p, added) in self.classifier.iter_mut().zip([&evaluated.weights, &evaluated.bias]) {
            p.gradient.iter_mut().zip(added).for_each(|(g, a)| *g += a * share);
        }
        self.sums.loss += f64::from(evaluated.loss);
        self.sums.classification += f64::from(evaluated.classification);
        self.sums.distillation += f64::from(evaluated.distillation);
        self.sums.correct += evaluated.correct;
        self.sums.photos += n;
        Ok(())
    }

    fn loss(&self, embeddings: &[f32], items: &[(usize, View)]) -> Evaluated<f32> {
        let (loss, distill) = (&self.recipe.loss, &self.recipe.distill);
        let growing = f64::from(loss.margin_warmup) * self.plan.steps as f64;
        let grown = if growing > 0.0 { ((self.place.step as f64) / growing).min(1.0) } else { 1.0 };
        let weights = [distill.features, distill.logits, distill.temperature];
        let criterion = Criterion::<f32>::new(loss, grown as f32, weights);
        let photos: Vec<usize> = items.iter().map(|(s, _)| *s).collect();
        let labels: Vec<usize> = photos.iter().map(|s| self.class_of.get(s).copied().unwrap_or(0)).collect();
        let champion = self.prepared.champion.as_ref().filter(|_| distill.is_on());
        let features = champion.filter(|_| distill.features > 0.0).map_or_else(Vec::new, |c| c.all(&photos, false));
        let logits = champion.filter(|_| distill.logits > 0.0).map_or_else(Vec::new, |c| c.logits(&photos, loss.scale));
        let teacher = Teacher { features: &features, logits: &logits };
        let bias = self.classifier.get(1).map_or(&[][..], |p| &p.value);
        let prototypes = Prototypes { weights: &self.classifier[0].value, bias };
        criterion.evaluate(embeddings, &labels, prototypes, champion.map(|_| &teacher))
    }

    /// Shortens the gradient; gives how long it was.
    pub fn clip(&mut self, network: &mut dyn Network) -> Result<f64, TrainingError> {
        let length = gradient_length(network.parameters().iter().chain(&self.classifier));
        if !length.is_finite() {
            return Err(TrainingError::Diverged { step: self.place.step + 1, what: "the gradient" });
        }
        let all = network.parameters().iter_mut().chain(&mut self.classifier);
        clip(all, length, self.recipe.optimiser.clip);
        Ok(length)
    }

    /// Moves the weights, and the average after them.
    pub fn update(&mut self, network: &mut dyn Network, lr: f64) {
        let of_network = network.parameters().len();
        let faster = f64::from(self.recipe.optimiser.classifier_factor);
        let all = network.parameters().iter_mut().chain(&mut self.classifier);
        self.optimiser.step(self.place.step, all, |place| if place < of_network { lr } else { lr * faster });
        for (average, p) in self.average.iter_mut().zip(network.parameters().iter()) {
            follow(average, &p.value, self.recipe.regularise.ema, self.place.step);
        }
        self.place.step += 1;
    }

    /// What the step came to; the loop adds how fast it was.
    pub fn report(&self, lr: f64, gradient: f64) -> StepReport {
        let (s, photos) = (&self.sums, self.sums.photos.max(1) as f64);
        StepReport {
            step: self.place.step,
            of: self.plan.steps,
            epoch: self.plan.epoch(self.place.step),
            loss: s.loss / photos,
            classification: s.classification / photos,
            distillation: s.distillation / photos,
            accuracy: s.correct as f64 / photos,
            lr,
            gradient,
            images_per_second: 0.0,
            eta_seconds: 0.0,
        }
    }

    /// Whether the present step wants to be validated and was not.
    pub fn validation_is_due(&self) -> bool {
        self.plan.validates(self.place.step) && self.place.validated != Some(self.place.step)
    }

    /// Measures the model on people it does not learn from, and keeps it if it is the best so far. `None` when it was
    /// told to stop.
    pub fn validate(
        &mut self,
        network: &mut dyn Network,
        inputs: &dyn Inputs,
        progress: &mut dyn Progress,
    ) -> Result<Option<ValidationReport>, TrainingError> {
        let photos = &self.prepared.photos.validation;
        let view = if self.recipe.domain.is_off() { View::Plain } else { View::Domain };
        let items: Vec<(usize, View)> = photos.iter().map(|s| (*s, view)).collect();
        self.exchange(network);
        let embedded = templates(network, inputs, &items, embedding(self.recipe, Phase::Evaluating), progress);
        let best = embedded.and_then(|e| e.map(|e| self.judge(&e, network)).transpose());
        self.exchange(network);
        let Some(report) = best? else { return Ok(None) };
        self.place.validated = Some(self.place.step);
        let patience = self.recipe.validation.patience;
        self.place.ended_early = patience > 0 && self.place.since_best >= patience && self.place.step < self.plan.steps;
        Ok(Some(report))
    }

    fn judge(&mut self, templates: &[f32], network: &mut dyn Network) -> Result<ValidationReport, TrainingError> {
        let people = identities(self.samples, &self.prepared.photos.validation);
        let (tar, auc) = measure(&comparisons(&self.pairs, templates, &people), &self.recipe.validation)?;
        let best = self.place.best.is_none_or(|b| (tar, auc) > b);
        if best {
            (self.place.best, self.place.best_step, self.place.since_best) = (Some((tar, auc)), self.place.step, 0);
            let weights = network.parameters().iter().map(|p| named("weights", &p.name, &p.value)).collect();
            self.write("best.bin", weights, network)?;
        } else {
            self.place.since_best += 1;
        }
        let (step, fmr) = (self.place.step, self.recipe.validation.fmr);
        Ok(ValidationReport { step, epoch: self.plan.epoch(step), tar, fmr, auc, best })
    }

    /// Puts the average into the network, and what was there into its place; a second time undoes it.
    fn exchange(&mut self, network: &mut dyn Network) {
        for (average, p) in self.average.iter_mut().zip(network.parameters()) {
            std::mem::swap(average, &mut p.value);
        }
    }

    /// Puts the state down.
    pub fn save(&mut self, network: &mut dyn Network) -> Result<(), TrainingError> {
        let mut values = Vec::new();
        for (place, p) in network.parameters().iter().chain(&self.classifier).enumerate() {
            let Moments { first, second } = &self.optimiser.moments[place];
            values.extend([named("weights", &p.name, &p.value), named("first", &p.name, first)]);
            values.push(named("second", &p.name, second));
        }
        let names = network.parameters().iter().map(|p| p.name.clone());
        values.extend(names.zip(&self.average).map(|(name, average)| named("average", &name, average)));
        self.saved = Instant::now();
        self.write("checkpoint.bin", values, network)
    }

    /// Puts it down if it is time.
    pub fn save_from_time_to_time(&mut self, network: &mut dyn Network) -> Result<(), TrainingError> {
        let due = self.saved.elapsed() >= Duration::from_secs(self.recipe.checkpoint.seconds);
        if due { self.save(network) } else { Ok(()) }
    }

    /// Puts it down, for it was told to stop.
    pub fn stopped(&mut self, network: &mut dyn Network) -> Result<Ended, TrainingError> {
        self.save(network)?;
        Ok(Ended::Stopped { step: self.place.step, of: self.plan.steps })
    }

    fn write(&self, file: &str, mut values: Vec<NamedValues>, network: &mut dyn Network) -> Result<(), TrainingError> {
        values.extend(network.state().iter().map(|s| named("state", &s.name, &s.values)));
        let checkpoint = Checkpoint { run: self.run.record.id.clone(), place: self.place.clone(), values };
        checkpoint.write(&self.run.path(file))
    }

    fn restore(&mut self, checkpoint: &Checkpoint, network: &mut dyn Network) -> Result<(), TrainingError> {
        let parameters = network.parameters().iter_mut().chain(&mut self.classifier);
        for (p, (name, values)) in parameters.zip(checkpoint.of("weights")) {
            fits(p, name, values)?;
            p.value.copy_from_slice(values);
        }
        for (m, (_, first)) in self.optimiser.moments.iter_mut().zip(checkpoint.of("first")) {
            m.first = first.to_vec();
        }
        for (m, (_, second)) in self.optimiser.moments.iter_mut().zip(checkpoint.of("second")) {
            m.second = second.to_vec();
        }
        for (average, (_, values)) in self.average.iter_mut().zip(checkpoint.of("average")) {
            *average = values.to_vec();
        }
        network.set_state(&state_of(checkpoint))?;
        self.place = checkpoint.place.clone();
        Ok(())
    }
}

/// Puts the weights of a file such as best.bin into a network.
pub(super) fn put(checkpoint: &Checkpoint, network: &mut dyn Network) -> Result<(), TrainingError> {
    for (p, (name, values)) in network.parameters().iter_mut().zip(checkpoint.of("weights")) {
        fits(p, name, values)?;
        p.value.copy_from_slice(values);
    }
    network.set_state(&state_of(checkpoint))
}

fn state_of(checkpoint: &Checkpoint) -> Vec<NamedValues> {
    checkpoint
        .of("state")
        .map(|(name, values)| NamedValues { name: name.to_owned(), values: values.to_vec() })
        .collect()
}

fn fits(p: &Parameter, name: &str, values: &[f32]) -> Result<(), TrainingError> {
    let same = p.name == name && p.value.len() == values.len();
    if same {
        Ok(())
    } else {
        Err(TrainingError::Model(format!("the checkpoint has `{name}` where `{}` is wanted", p.name)))
    }
}

fn named(kind: &str, name: &str, values: &[f32]) -> NamedValues {
    NamedValues { name: format!("{kind}/{name}"), values: values.to_vec() }
}

/// Whose photos these are.
pub(super) fn identities(samples: &dyn Samples, photos: &[usize]) -> Vec<usize> {
    photos.iter().map(|&s| samples.identity(s)).collect()
}

/// Prototypes at the centres of people or anywhere, and biases for Softmax.
fn fresh_classifier(recipe: &Recipe, prepared: &Prepared, dim: usize) -> Vec<Parameter> {
    let parameter = |name: &str, kind, value: Vec<f32>| {
        let gradient = vec![0.0; value.len()];
        Parameter { name: name.to_owned(), kind, value, gradient }
    };
    let classes = prepared.photos.classes;
    let weights = match (recipe.loss.prototypes, &prepared.champion) {
        (recipe::Prototypes::Centres, Some(champion)) => champion.centres.clone(),
        _ => {
            let mut random = Random::of(&[recipe.seed, FRESH]);
            (0..classes * dim).map(|_| 0.01 * random.normals()[0]).collect()
        }
    };
    let mut all = vec![parameter("classifier.weight", Kind::Weight, weights)];
    if recipe.loss.kind == LossKind::Softmax {
        all.push(parameter("classifier.bias", Kind::Bias, vec![0.0; classes]));
    }
    all
}
