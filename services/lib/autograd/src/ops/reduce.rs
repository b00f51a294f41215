//! Means over some axes: of tokens, of whole pictures.

use super::{Back, Context, Op, Strides};

/// The mean over the axes along which the output stays where it is.
#[derive(Clone, Debug)]
pub struct Mean {
    /// The input's axes, and how the output is walked through along them.
    pub strides: Strides,
}

impl Op for Mean {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let s = &self.strides;
        let (len, run, step) = (s.len(), s.run(), s.step());
        let by = s.of_sample as f32 / len as f32;
        cx.threads.split_by(output, s.of_sample, inputs[0].len() > 1 << 14, |first, part| {
            part.fill(0.0);
            s.walk(first..first + part.len() / s.of_sample, |at, to| {
                let (from, to) = (&inputs[0][first * len + at..][..run], to - first * s.of_sample);
                if step == 0 {
                    part[to] += from.iter().sum::<f32>();
                } else {
                    part[to..].iter_mut().step_by(step).zip(from).for_each(|(to, x)| *to += x);
                }
            });
            part.iter_mut().for_each(|v| *v *= by);
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let s = &self.strides;
        let (len, run, step) = (s.len(), s.run(), s.step());
        let by = s.of_sample as f32 / len as f32;
        let gradient = back.gradient;
        let Some(target) = back.target(0) else { return };
        cx.threads.split(target.cleared(), len, |first, part| {
            s.walk(first..first + part.len() / len, |at, from| {
                for (i, to) in part[at..at + run].iter_mut().enumerate() {
                    *to += gradient[from + i * step] * by;
                }
            });
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        false
    }
}
