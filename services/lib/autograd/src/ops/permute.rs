//! Axes in another order: transpositions, and the change between channels first and channels last.

use super::{Back, Context, Op, Strides};

/// Copies a tensor so that its axes lie in another order.
#[derive(Clone, Debug)]
pub struct Permute {
    /// The output's axes, and how the input is read along them.
    pub strides: Strides,
}

impl Permute {
    /// From the input's sizes in the order of memory, and for each axis of the output the one it is in the input.
    /// A tensor without samples is one sample.
    pub fn new(dims: &[usize], order: &[usize]) -> Self {
        let mut steps = vec![1; dims.len()];
        for axis in (0..dims.len().saturating_sub(1)).rev() {
            steps[axis] = steps[axis + 1] * dims[axis + 1];
        }
        let strides = Strides {
            dims: order.iter().map(|a| dims[*a]).collect(),
            steps: order.iter().map(|a| steps[*a]).collect(),
            of_sample: dims.iter().product(),
        };
        Self { strides }
    }
}

impl Op for Permute {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let s = &self.strides;
        let (len, run, step) = (s.len(), s.run(), s.step());
        cx.threads.split(output, len, |first, part| {
            s.walk(first..first + part.len() / len, |at, from| {
                let to = &mut part[at..at + run];
                if step == 1 {
                    to.copy_from_slice(&inputs[0][from..from + run]);
                } else {
                    to.iter_mut().enumerate().for_each(|(i, to)| *to = inputs[0][from + i * step]);
                }
            });
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let s = &self.strides;
        let (len, run, step) = (s.len(), s.run(), s.step());
        let gradient = back.gradient;
        let Some(target) = back.target(0) else { return };
        let add = target.adds();
        cx.threads.split(target.to, len, |first, part| {
            let samples = part.len() / len;
            s.walk(first..first + samples, |at, place| {
                let (from, place) = (&gradient[first * len + at..][..run], place - first * len);
                if step == 1 && !add {
                    part[place..place + run].copy_from_slice(from);
                    return;
                }
                for (i, g) in from.iter().enumerate() {
                    let to = &mut part[place + i * step];
                    *to = if add { *to + g } else { *g };
                }
            });
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }

    fn cheap(&self) -> bool {
        true
    }
}
