//! The loop: photos through the network, the loss, back, a step; from time to time a validation and a checkpoint.

use std::time::Instant;

use vision::Random;

use super::{
    Open,
    prepare::{LOADERS, Photos, Prepared},
    state::State,
};
use crate::{
    Recipe, TrainingError,
    inputs::View,
    loader::{Loader, with_loader},
    progress::{Event, Next, Progress, StepReport},
    run::{Metric, Run},
};

/// How the loop ended.
pub(super) enum Ended {
    /// With its last step, or with patience.
    Finished { step: u64, of: u64 },
    /// As it was told.
    Stopped { step: u64, of: u64 },
}

/// Numbers of a run that follow from recipe and photos.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    /// Steps in all.
    pub steps: u64,
    /// Parts of a step.
    pub parts: u64,
    /// Photos that are trained on.
    pub photos: u64,
    /// Photos in a step.
    pub batch: u64,
    /// Steps from one validation to the next.
    pub validate_every: u64,
}

impl Plan {
    fn new(recipe: &Recipe, photos: &Photos) -> Self {
        let (n, batch) = (photos.train.len() as u64, recipe.batch.size as u64);
        let steps_of = |epochs: f64| ((epochs * n as f64 / batch as f64).round() as u64).max(1);
        Self {
            steps: steps_of(recipe.epochs),
            parts: batch / recipe.batch.micro as u64,
            photos: n,
            batch,
            validate_every: steps_of(recipe.validation.every),
        }
    }

    /// How often all photos have been seen after so many steps.
    pub fn epoch(&self, step: u64) -> f64 {
        (step * self.batch) as f64 / self.photos as f64
    }

    /// Whether a validation is due after so many steps.
    pub fn validates(&self, step: u64) -> bool {
        step.is_multiple_of(self.validate_every) || step == self.steps
    }
}

/// Order of an epoch, apart from all other draws.
const ORDER: u64 = 0x0e_d3;

/// Which photos a part of a step has: all epochs, each in its own order, one after the other.
fn items(photos: &[usize], seed: u64, micro: u64, job: u64) -> Vec<(usize, View)> {
    let n = photos.len() as u64;
    let mut order = (u64::MAX, Vec::new());
    let item = |position: u64| {
        let epoch = position / n;
        if order.0 != epoch {
            order = (epoch, Random::of(&[seed, ORDER, epoch]).permutation(photos.len()));
        }
        (photos[order.1[(position % n) as usize]], View::Training(epoch))
    };
    (job * micro..(job + 1) * micro).map(item).collect()
}

/// Trains until the last step, until nothing gets better, or until it is told to stop.
pub(super) fn learn(
    run: &Run,
    prepared: &Prepared,
    open: &mut Open<'_>,
    progress: &mut dyn Progress,
) -> Result<Ended, TrainingError> {
    let (recipe, samples) = (open.recipe, open.samples);
    let plan = Plan::new(recipe, &prepared.photos);
    let (network, inputs) = open.split();
    let mut state = State::begin(run, prepared, (recipe, samples), plan, network)?;
    run.forget_after(state.place.step, state.place.validated)?;
    let jobs = state.place.step * plan.parts..plan.steps * plan.parts;
    let micro = recipe.batch.micro as u64;
    let of_job = |job: u64| items(&prepared.photos.train, recipe.seed, micro, job);
    let pace = Pace::new(state.place.step);
    with_loader(inputs.as_ref(), jobs, LOADERS, &of_job, |mut loader| {
        loop {
            if state.validation_is_due() {
                let Some(report) = state.validate(network, inputs.as_ref(), progress)? else {
                    return state.stopped(network);
                };
                run.note(&Metric::Validation(report))?;
                state.save(network)?;
                if progress.at(&Event::Validated(&report)) == Next::Stop {
                    return state.stopped(network);
                }
            }
            let step = state.place.step;
            if step == plan.steps || state.place.ended_early {
                return Ok(Ended::Finished { step, of: plan.steps });
            }
            let report = pace.told(one_step(&mut state, network, &mut loader)?, &plan);
            run.note(&Metric::Step(report))?;
            if progress.at(&Event::Step(&report)) == Next::Stop {
                return state.stopped(network);
            }
            state.save_from_time_to_time(network)?;
        }
    })
}

/// One change of the weights.
fn one_step(
    state: &mut State<'_>,
    network: &mut dyn crate::backend::Network,
    loader: &mut Loader,
) -> Result<(StepReport, Instant), TrainingError> {
    let began = Instant::now();
    let lr = state.rate();
    network.zero_gradients();
    for part in 0..state.plan.parts {
        let batch = loader.next()?;
        state.accumulate(network, &batch, part)?;
    }
    let gradient = state.clip(network)?;
    state.update(network, lr);
    Ok((state.report(lr, gradient), began))
}

/// How fast it goes.
struct Pace {
    began: Instant,
    first: u64,
}

impl Pace {
    fn new(first: u64) -> Self {
        Self { began: Instant::now(), first }
    }

    fn told(&self, (report, began): (StepReport, Instant), plan: &Plan) -> StepReport {
        let (seconds, all) = (began.elapsed().as_secs_f64().max(1e-9), self.began.elapsed().as_secs_f64());
        let done = (report.step - self.first).max(1) as f64;
        StepReport {
            images_per_second: plan.batch as f64 / seconds,
            eta_seconds: all / done * (plan.steps - report.step) as f64,
            ..report
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_photo_comes_once_in_an_epoch_and_in_another_order_in_the_next() {
        let photos: Vec<usize> = (100..107).collect();
        let all: Vec<(usize, View)> = (0..7).flat_map(|job| items(&photos, 5, 2, job)).collect();
        let epoch = |e: usize| {
            let of = all[7 * e..7 * (e + 1)].iter();
            assert!(of.clone().all(|(_, v)| *v == View::Training(e as u64)));
            of.map(|(s, _)| *s).collect::<Vec<_>>()
        };
        assert_ne!(epoch(0), epoch(1));
        for e in 0..2 {
            let mut sorted = epoch(e);
            sorted.sort_unstable();
            assert_eq!(sorted, photos);
        }
    }
}
