//! Batch normalisation and the activation behind it in one pass over memory; each may be missing. What is normalised
//! is kept for the backward pass, what comes out is not: it is cheap to have again.

use super::{Back, Context, Mode, Op, part_of, total};
use crate::kernels::{self, Affine, Through};

/// Statistics of a batch normalisation, as they stand in the model.
#[derive(Clone, Debug)]
pub struct Running {
    /// Names of mean and variance in the graph.
    pub names: [String; 2],
    /// Mean and variance of each channel.
    pub values: [Vec<f32>; 2],
    /// Added to variances.
    pub epsilon: f32,
    /// Share of the former value that an update keeps.
    pub momentum: f32,
    /// Whether training uses the batch's own statistics.
    pub of_batch: bool,
}

/// The slope of the activation below zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slope {
    /// This one; 1 is no activation, 0 a rectifier.
    Fixed(f32),
    /// The input at this place: one for each channel, or one for all.
    Input(usize),
}

/// `act(x · scale + shift)` for each channel.
#[derive(Debug)]
pub struct NormAct {
    /// Channels, which lie next to each other.
    pub channels: usize,
    /// The normalisation, if there is one.
    pub running: Option<Running>,
    /// Which input is the scale.
    pub scale: Option<usize>,
    /// Which input is the shift.
    pub shift: Option<usize>,
    /// The activation.
    pub slope: Slope,
    /// What the last forward pass used, for its backward pass.
    pub last: Last,
}

/// Numbers for each channel between the two passes.
#[derive(Clone, Debug, Default)]
pub struct Last {
    mean: Vec<f32>,
    /// One by the standard deviation.
    by: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    slope: Vec<f32>,
}

impl Last {
    fn affine(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift, slope: &self.slope }
    }
}

impl NormAct {
    fn uses_batch(&self, training: bool) -> bool {
        training && self.running.as_ref().is_some_and(|r| r.of_batch)
    }

    fn prepare(&mut self, cx: &Context<'_>, inputs: &[&[f32]]) {
        let c = self.channels;
        let (mean, by) = match &mut self.running {
            None => (vec![0.0; c], vec![1.0; c]),
            Some(running) if cx.training && running.of_batch => {
                let (mean, variance) = batch_moments(cx, inputs[0], c);
                let by = variance.iter().map(|v| (1.0 / (v + f64::from(running.epsilon)).sqrt()) as f32).collect();
                running.update(&mean, &variance);
                (mean.iter().map(|m| *m as f32).collect(), by)
            }
            Some(r) => (r.values[0].clone(), r.values[1].iter().map(|v| 1.0 / (v + r.epsilon).sqrt()).collect()),
        };
        let one = |index: Option<usize>, i: usize, other: f32| index.map_or(other, |at| inputs[at][i]);
        let scale: Vec<f32> = (0..c).map(|i| one(self.scale, i, 1.0) * by[i]).collect();
        let shift = (0..c).map(|i| one(self.shift, i, 0.0) - mean[i] * scale[i]).collect();
        let slope = match self.slope {
            Slope::Fixed(value) => vec![value; c],
            Slope::Input(at) => (0..c).map(|i| inputs[at][i.min(inputs[at].len() - 1)]).collect(),
        };
        self.last = Last { mean, by, scale, shift, slope };
    }
}

impl Running {
    /// As the standard has it: the variance is that of the batch itself, divided by its count and not by one less.
    fn update(&mut self, mean: &[f64], variance: &[f64]) {
        for (values, news) in self.values.iter_mut().zip([mean, variance]) {
            for (value, new) in values.iter_mut().zip(news) {
                *value = *value * self.momentum + *new as f32 * (1.0 - self.momentum);
            }
        }
    }
}

fn batch_moments(cx: &Context<'_>, x: &[f32], c: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (x.len() / c) as f64;
    // About the first row's values, so that large means cost no digits.
    let about = &x[..c];
    let level = cx.level;
    let parts = cx
        .threads
        .ranges(x.len() / c, x.len() > 1 << 14, |r| kernels::moments(level, &x[r.start * c..r.end * c], about));
    let sums = total(parts);
    let shifted: Vec<f64> = sums[..c].iter().map(|s| s / rows).collect();
    let variance = sums[c..].iter().zip(&shifted).map(|(s, m)| (s / rows - m * m).max(0.0)).collect();
    (shifted.iter().zip(about).map(|(m, a)| m + f64::from(*a)).collect(), variance)
}

impl Op for NormAct {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        if !cx.again {
            self.prepare(cx, inputs);
        }
        let (c, level, affine) = (self.channels, cx.level, self.last.affine());
        cx.threads.split(output, c, |first, y| {
            kernels::norm_act(level, &affine, &inputs[0][first * c..][..y.len()], y);
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (c, level, x) = (self.channels, cx.level, back.inputs[0]);
        let last = &self.last;
        let (mut by_x, mut constant) = (vec![0.0; c], vec![0.0; c]);
        let mut sums = Vec::new();
        if self.uses_batch(cx.training) {
            let apart = back.gradient;
            let gradient = match back.target(0) {
                Some(target) if target.mode == Mode::InPlace => &*target.to,
                _ => apart,
            };
            sums = total(cx.threads.ranges(x.len() / c, x.len() > 1 << 14, |r| {
                let part = r.start * c..r.end * c;
                kernels::norm_act_sums(level, &last.affine(), &last.mean, &x[part.clone()], &gradient[part])
            }));
            let rows = (x.len() / c) as f64;
            for i in 0..c {
                let (scale, by) = (f64::from(last.scale[i]), f64::from(last.by[i]));
                let slant = -scale * by * by * sums[c + i] / rows;
                by_x[i] = slant as f32;
                constant[i] = (-scale * sums[i] / rows - slant * f64::from(last.mean[i])) as f32;
            }
        }
        let through =
            Through { affine: last.affine(), mean: &last.mean, by: &last.scale, by_x: &by_x, constant: &constant };
        let gradient = back.gradient;
        if let Some(target) = back.target(0) {
            let (flow, to) = target.flow(gradient);
            let parts = cx.threads.split(to, c, |first, to| {
                let x = &x[first * c..][..to.len()];
                kernels::norm_act_back(level, &through, x, part_of(flow, first * c, to.len()), to)
            });
            if sums.is_empty() {
                sums = total(parts);
            }
        } else if sums.is_empty() {
            sums = kernels::norm_act_sums(level, &last.affine(), &last.mean, x, gradient);
        }
        self.add_gradients(&mut back, &sums);
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }

    fn in_place(&self) -> bool {
        true
    }

    fn cheap(&self) -> bool {
        true
    }

    fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    fn running_mut(&mut self) -> Option<&mut Running> {
        self.running.as_mut()
    }
}

impl NormAct {
    fn add_gradients(&self, back: &mut Back<'_, '_>, sums: &[f64]) {
        let c = self.channels;
        if let Some(at) = self.scale {
            back.add_sums(at, (0..c).map(|i| sums[c + i] * f64::from(self.last.by[i])));
        }
        if let Some(at) = self.shift {
            back.add_sums(at, sums[..c].iter().copied());
        }
        if let Slope::Input(at) = self.slope {
            let shared = back.target(at).is_some_and(|t| t.to.len() == 1);
            let of_slope = &sums[2 * c..];
            if shared {
                back.add_sums(at, std::iter::once(of_slope.iter().sum()));
            } else {
                back.add_sums(at, of_slope.iter().copied());
            }
        }
    }
}
