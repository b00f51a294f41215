//! What is minimised: telling the people of the training set apart, and staying close to a teacher. Generic over the
//! precision, so that gradients are checked in `f64` on the very code that runs in `f32`. Called by the loop.
//!
//! People are vectors (prototypes) that learn beside the network and are thrown away with the run.

mod distil;
mod logits;
mod margin;
mod real;

use crate::recipe::{LossKind, LossPart};

pub use distil::Teacher;
pub use real::Real;

use logits::{Cosines, Linear};
use margin::Margin;

/// What the loss is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criterion<R> {
    kind: LossKind,
    margin: R,
    scale: R,
    smoothing: R,
    features: R,
    logits: R,
    temperature: R,
}

/// The vectors that stand for people, row by row, and for Softmax a bias each.
#[derive(Clone, Copy, Debug)]
pub struct Prototypes<'a, R> {
    /// `classes × dim`.
    pub weights: &'a [R],
    /// One for each class; unused by the margin losses.
    pub bias: &'a [R],
}

/// What a batch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated<R> {
    /// Sum over the batch of all parts by their weights.
    pub loss: R,
    /// Of it: telling people apart.
    pub classification: R,
    /// Of it: staying close to the teacher.
    pub distillation: R,
    /// How many were taken for the right person, margin left aside.
    pub correct: usize,
    /// Derivative by the embeddings.
    pub embeddings: Vec<R>,
    /// Derivative by the prototypes.
    pub weights: Vec<R>,
    /// Derivative by the biases; empty for the margin losses.
    pub bias: Vec<R>,
}

impl<R: Real> Criterion<R> {
    /// As a recipe says. `grown` is the share of the margin that applies, `distill` the weights of features and logits
    /// and the temperature.
    #[must_use]
    pub fn new(part: &LossPart, grown: f32, [features, logits, temperature]: [f32; 3]) -> Self {
        let real = |v: f32| R::of(f64::from(v));
        Self {
            kind: part.kind,
            margin: real(part.margin.unwrap_or(part.kind.margin()) * grown),
            scale: real(part.scale),
            smoothing: real(part.label_smoothing),
            features: real(features),
            logits: real(logits),
            temperature: real(temperature),
        }
    }

    /// Loss and derivatives of a batch of embeddings (row by row, not normalised) of these people. Sums: whoever wants
    /// means divides.
    #[must_use]
    pub fn evaluate(
        &self,
        embeddings: &[R],
        labels: &[usize],
        prototypes: Prototypes<'_, R>,
        teacher: Option<&Teacher<'_, R>>,
    ) -> Evaluated<R> {
        let n = labels.len();
        let classes = prototypes.weights.len() * n / embeddings.len().max(1);
        let mut out = match self.kind {
            LossKind::Softmax => self.linear(embeddings, labels, prototypes, teacher),
            _ => self.angular(embeddings, labels, (prototypes, classes), teacher),
        };
        if let Some(t) = teacher
            && self.features > R::ZERO
            && !t.features.is_empty()
        {
            let loss = distil::features(embeddings, t.features, n, self.features, &mut out.embeddings);
            out.distillation = out.distillation + loss;
        }
        out.loss = out.classification + out.distillation;
        out
    }

    /// Softmax over a linear layer.
    fn linear(
        &self,
        x: &[R],
        labels: &[usize],
        p: Prototypes<'_, R>,
        teacher: Option<&Teacher<'_, R>>,
    ) -> Evaluated<R> {
        let linear = Linear { x, weights: p.weights, bias: p.bias, n: labels.len() };
        let logits = linear.logits();
        let mut gradient = vec![R::ZERO; logits.len()];
        let mut sums = self.targets(&logits, labels, &mut gradient);
        sums.distillation = self.distil(&logits, teacher, labels.len(), &mut gradient);
        let (embeddings, weights, bias) = linear.backward(&gradient);
        Evaluated { embeddings, weights, bias, ..sums }
    }

    /// Cosines with a margin.
    fn angular(
        &self,
        x: &[R],
        labels: &[usize],
        (p, classes): (Prototypes<'_, R>, usize),
        teacher: Option<&Teacher<'_, R>>,
    ) -> Evaluated<R> {
        let cosines = Cosines::of(x, p.weights, labels.len());
        let mut logits: Vec<R> = cosines.values.iter().map(|c| *c * self.scale).collect();
        let plain = logits.clone();
        let margin = Margin { kind: self.kind, margin: self.margin };
        let mut slopes = Vec::with_capacity(labels.len());
        for (row, &label) in labels.iter().enumerate() {
            let at = row * classes + label;
            let (value, slope) = margin.apply(cosines.values[at]);
            logits[at] = value * self.scale;
            slopes.push(slope);
        }
        let mut gradient = vec![R::ZERO; logits.len()];
        let mut sums = self.targets(&logits, labels, &mut gradient);
        sums.correct = correct(&plain, labels);
        for (row, &label) in labels.iter().enumerate() {
            let at = row * classes + label;
            gradient[at] = gradient[at] * slopes[row];
        }
        // The teacher knows no margin: its logits are held against the plain ones.
        sums.distillation = self.distil(&plain, teacher, labels.len(), &mut gradient);
        gradient.iter_mut().for_each(|g| *g = *g * self.scale);
        let (embeddings, weights) = cosines.backward(&gradient);
        Evaluated { embeddings, weights, bias: Vec::new(), ..sums }
    }

    /// Cross-entropy with label smoothing; derivatives by the logits are put into `gradient`.
    fn targets(&self, logits: &[R], labels: &[usize], gradient: &mut [R]) -> Evaluated<R> {
        let classes = logits.len() / labels.len().max(1);
        let spread = self.smoothing / R::of(classes as f64);
        let mut loss = R::ZERO;
        for ((row, g), &label) in logits.chunks_exact(classes).zip(gradient.chunks_exact_mut(classes)).zip(labels) {
            let total = logits::softmax(row, R::ONE, g);
            for (k, (z, g)) in row.iter().zip(g.iter_mut()).enumerate() {
                let target = if k == label { spread + R::ONE - self.smoothing } else { spread };
                loss = loss + target * (total - *z);
                *g = *g - target;
            }
        }
        Evaluated {
            loss,
            classification: loss,
            distillation: R::ZERO,
            correct: correct(logits, labels),
            embeddings: Vec::new(),
            weights: Vec::new(),
            bias: Vec::new(),
        }
    }

    fn distil(&self, logits: &[R], teacher: Option<&Teacher<'_, R>>, n: usize, gradient: &mut [R]) -> R {
        match teacher {
            Some(t) if self.logits > R::ZERO && !t.logits.is_empty() => {
                distil::logits((logits, t.logits), n, self.temperature, self.logits, gradient)
            }
            _ => R::ZERO,
        }
    }
}

fn correct<R: Real>(logits: &[R], labels: &[usize]) -> usize {
    let classes = logits.len() / labels.len().max(1);
    let right = |(row, label): &(&[R], &usize)| row.iter().all(|z| *z <= row[**label]);
    logits.chunks_exact(classes.max(1)).zip(labels).filter(right).count()
}

#[cfg(test)]
mod tests;
