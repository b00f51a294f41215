//! A whole run on people that are made up: what it must end with, and what may happen to it on the way. The network is
//! a small linear one, but in `engine`, which sees the real one through.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod linear;
mod people;

mod ends;
mod engine;
mod refusals;
mod stops;

use std::path::Path;

use visavis_training::{Event, Next, Outcome, Progress, Recipe, Samples, TrainingError, train_with};

use linear::Linear;
use people::People;

/// Goes on, and remembers what it heard.
#[derive(Default)]
struct Heard {
    losses: Vec<f64>,
    /// The events that were steps.
    steps: Vec<usize>,
    validations: Vec<(u64, f64, f64)>,
    /// Events so far, and the one at which to stop.
    events: usize,
    stop_at: Option<usize>,
    /// The event at which to fall over, as a process that is killed does.
    die_at: Option<usize>,
}

impl Progress for Heard {
    fn at(&mut self, event: &Event<'_>) -> Next {
        match event {
            Event::Step(s) => {
                self.losses.push(s.loss);
                self.steps.push(self.events + 1);
            }
            Event::Validated(v) => self.validations.push((v.step, v.tar, v.auc)),
            Event::Phase { .. } => {}
        }
        self.events += 1;
        assert!(self.die_at != Some(self.events), "killed");
        if self.stop_at == Some(self.events) { Next::Stop } else { Next::Continue }
    }
}

/// A quick recipe for made-up people.
fn recipe(settings: &[&str]) -> Recipe {
    let quick = [
        "epochs=12",
        "threads=1",
        "batch.size=32",
        "batch.micro=8",
        "loss.scale=12",
        "loss.margin=0.2",
        "loss.margin_warmup=0",
        "optimiser.learning_rate=0.003",
        "optimiser.weight_decay=0",
        "regularise.ema=0.9",
        "regularise.norm=frozen",
        "split.validation=6",
        "split.test=6",
        "validation.every=2",
        "validation.fmr=0.01",
        "input.mean=[127.5, 127.5, 127.5]",
        "input.scale=[0.01, 0.01, 0.01]",
        // What moves a pattern makes another one of it.
        "augment.flip=0",
        "augment.rotation.probability=0",
        "augment.scale.probability=0",
        "augment.shift.probability=0",
        "augment.salt_and_pepper.probability=0",
        "augment.occlusion.probability=0",
        "checkpoint.seconds=0",
    ];
    let all: Vec<String> = quick.iter().chain(settings).map(|s| (*s).to_owned()).collect();
    Recipe::named("from-scratch", &all).unwrap()
}

fn run(recipe: &Recipe, samples: &dyn Samples, folder: &Path, heard: &mut Heard) -> Result<Outcome, TrainingError> {
    train_with(&Linear, (recipe, &linear::model(3)), samples, folder, heard)
}

/// Trains to the end; gives the model's bytes.
fn finished(recipe: &Recipe, samples: &dyn Samples, folder: &Path) -> Vec<u8> {
    match run(recipe, samples, folder, &mut Heard::default()).unwrap() {
        Outcome::Finished(f) => std::fs::read(f.model).unwrap(),
        stopped => panic!("{stopped:?}"),
    }
}

fn people() -> People {
    People::new(42, 6)
}
