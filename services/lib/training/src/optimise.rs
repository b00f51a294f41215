//! How weights move: AdamW or gradient descent with momentum, the schedule of the rate, clipping, the moving average.
//! Called by the loop, once a step.

use crate::backend::{Kind, Parameter};
use crate::recipe::{OptimiserKind, OptimiserPart};

/// Rate by step: grows from 0 in a straight line, then falls as half a cosine (Loshchilov and Hutter 2017).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    peak: f64,
    warmup: u64,
    steps: u64,
    last: f64,
}

impl Schedule {
    /// For so many steps.
    #[must_use]
    pub fn new(part: &OptimiserPart, steps: u64) -> Self {
        let warmup = (f64::from(part.warmup) * steps as f64).round() as u64;
        Self { peak: f64::from(part.learning_rate), warmup, steps, last: f64::from(part.last) }
    }

    /// Rate of a step; the first is 0.
    #[must_use]
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let falling = (self.steps - self.warmup).max(2) - 1;
        let share = ((step - self.warmup) as f64 / falling as f64).min(1.0);
        let cosine = f64::midpoint(1.0, (std::f64::consts::PI * share).cos());
        self.peak * (self.last + (1.0 - self.last) * cosine)
    }
}

/// Length of the gradient over all parameters.
#[must_use]
pub fn gradient_length<'a>(parameters: impl Iterator<Item = &'a Parameter>) -> f64 {
    let squares = |p: &Parameter| p.gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    parameters.map(squares).sum::<f64>().sqrt()
}

/// Shortens the gradient to `most` if it is longer; 0 lets any pass.
pub fn clip<'a>(parameters: impl Iterator<Item = &'a mut Parameter>, length: f64, most: f32) {
    let most = f64::from(most);
    if most <= 0.0 || length <= most {
        return;
    }
    let by = (most / length) as f32;
    parameters.for_each(|p| p.gradient.iter_mut().for_each(|g| *g *= by));
}

/// What an optimiser remembers of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Mean of the gradients; for SGD what momentum carries on.
    pub first: Vec<f32>,
    /// Mean of their squares; empty for SGD.
    pub second: Vec<f32>,
}

/// Moves parameters along their gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimiser {
    part: OptimiserPart,
    /// In the order of the parameters.
    pub moments: Vec<Moments>,
}

impl Optimiser {
    /// For parameters of these lengths.
    #[must_use]
    pub fn new(part: OptimiserPart, lengths: impl Iterator<Item = usize>) -> Self {
        let adam = part.kind == OptimiserKind::Adamw;
        let fresh = |n: usize| Moments { first: vec![0.0; n], second: vec![0.0; if adam { n } else { 0 }] };
        Self { part, moments: lengths.map(fresh).collect() }
    }

    /// Step number `step`, the first is 0. `rate` gives the rate of the parameter in a place.
    pub fn step<'a>(
        &mut self,
        step: u64,
        parameters: impl Iterator<Item = &'a mut Parameter>,
        rate: impl Fn(usize) -> f64,
    ) {
        for (place, (p, m)) in parameters.zip(&mut self.moments).enumerate() {
            // Loshchilov and Hutter 2019: decay is no part of the gradient. Norms, biases and slopes have none.
            let (rate, decays) = (rate(place), p.kind == Kind::Weight);
            let keep = if decays { 1.0 - rate * f64::from(self.part.weight_decay) } else { 1.0 };
            match self.part.kind {
                OptimiserKind::Adamw => adamw(&self.part, p, m, (step, rate, keep)),
                OptimiserKind::Sgd => sgd(&self.part, p, m, (rate, keep)),
            }
        }
    }
}

fn adamw(part: &OptimiserPart, p: &mut Parameter, m: &mut Moments, (step, rate, keep): (u64, f64, f64)) {
    let [b1, b2] = part.betas;
    let correction = |b: f32| 1.0 - f64::from(b).powf((step + 1) as f64);
    let size = (rate / correction(b1)) as f32;
    let root = correction(b2).sqrt() as f32;
    let keep = keep as f32;
    let values = p.value.iter_mut().zip(&p.gradient).zip(m.first.iter_mut().zip(&mut m.second));
    for ((v, &g), (first, second)) in values {
        *first = b1 * *first + (1.0 - b1) * g;
        *second = b2 * *second + (1.0 - b2) * g * g;
        *v = *v * keep - size * *first / (second.sqrt() / root + part.epsilon);
    }
}

fn sgd(part: &OptimiserPart, p: &mut Parameter, m: &mut Moments, (rate, keep): (f64, f64)) {
    let (rate, keep) = (rate as f32, keep as f32);
    for ((v, &g), first) in p.value.iter_mut().zip(&p.gradient).zip(&mut m.first) {
        *first = part.momentum * *first + g;
        *v = *v * keep - rate * *first;
    }
}

/// Moves `average` towards `values`. In the first steps it follows faster, so that it does not stay where the weights
/// began.
pub fn follow(average: &mut [f32], values: &[f32], decay: f32, step: u64) {
    let early = (1.0 + step as f32) / (10.0 + step as f32);
    let decay = decay.min(early);
    average.iter_mut().zip(values).for_each(|(a, v)| *a = decay * *a + (1.0 - decay) * v);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(kind: Kind, value: f32, gradient: f32) -> Parameter {
        Parameter { name: "p".into(), kind, value: vec![value], gradient: vec![gradient] }
    }

    #[test]
    fn the_rate_grows_then_falls_to_its_end() {
        let part = OptimiserPart { learning_rate: 1.0, warmup: 0.1, last: 0.01, ..OptimiserPart::default() };
        let s = Schedule::new(&part, 100);
        assert!((s.at(0) - 0.1).abs() < 1e-9 && (s.at(9) - 1.0).abs() < 1e-9 && (s.at(10) - 1.0).abs() < 1e-9);
        assert!((s.at(99) - 0.01).abs() < 1e-9 && (10..99).all(|i| s.at(i) > s.at(i + 1)));
        let middle = s.at(54);
        assert!((0.4..0.6).contains(&middle), "{middle}");
        let one = Schedule::new(&OptimiserPart { warmup: 1.0, ..part }, 1);
        assert!((one.at(0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn adamw_by_hand_and_decay_only_on_weights() {
        let part = OptimiserPart { weight_decay: 0.1, epsilon: 0.0, ..OptimiserPart::default() };
        let mut all = [parameter(Kind::Weight, 1.0, 0.5), parameter(Kind::Norm, 1.0, 0.5)];
        let mut o = Optimiser::new(part, [1, 1].into_iter());
        o.step(0, all.iter_mut(), |_| 0.01);
        // Corrected moments are g and g²: the first step is the rate, whatever the gradient.
        assert!((all[0].value[0] - (1.0 - 0.001 - 0.01)).abs() < 1e-6, "{:?}", all[0]);
        assert!((all[1].value[0] - 0.99).abs() < 1e-6);
        all[0].gradient[0] = -0.5;
        o.step(1, all.iter_mut(), |_| 0.01);
        // m = 0.9·0.05 − 0.05 = −0.005 of 1 − 0.81; v stays 0.25 after correction.
        let expected = 0.989 * (1.0 - 0.001) + 0.01 * (0.005 / 0.19) / 0.5;
        assert!((all[0].value[0] - expected).abs() < 1e-6, "{} {expected}", all[0].value[0]);
    }

    #[test]
    fn momentum_carries_on_and_places_have_rates_of_their_own() {
        let part = OptimiserPart { kind: OptimiserKind::Sgd, weight_decay: 0.0, ..OptimiserPart::default() };
        let mut all = [parameter(Kind::Weight, 0.0, 1.0), parameter(Kind::Weight, 0.0, 1.0)];
        let mut o = Optimiser::new(part, [1, 1].into_iter());
        for step in 0..2 {
            o.step(step, all.iter_mut(), |place| if place == 0 { 0.1 } else { 1.0 });
        }
        assert!((all[0].value[0] + 0.29).abs() < 1e-6 && (all[1].value[0] + 2.9).abs() < 1e-5);
        assert!(o.moments[0].second.is_empty());
    }

    #[test]
    fn clipping_keeps_the_direction_and_the_average_follows() {
        let mut all = [parameter(Kind::Weight, 0.0, 3.0), parameter(Kind::Bias, 0.0, -4.0)];
        let length = gradient_length(all.iter());
        assert!((length - 5.0).abs() < 1e-9);
        clip(all.iter_mut(), length, 1.0);
        assert!((all[0].gradient[0] - 0.6).abs() < 1e-6 && (all[1].gradient[0] + 0.8).abs() < 1e-6);
        clip(all.iter_mut(), 1.0, 0.0);
        assert!((all[0].gradient[0] - 0.6).abs() < 1e-6);
        let mut average = [0.0];
        follow(&mut average, &[1.0], 0.99, 0);
        assert!((average[0] - 0.9).abs() < 1e-6, "early on it follows at once");
        follow(&mut average, &[1.0], 0.5, 1000);
        assert!((average[0] - 0.95).abs() < 1e-6);
    }
}
