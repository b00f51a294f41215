//! Windows over pictures whose largest value or mean is kept.

use super::{Back, Context, Op, depthwise::sizes};
use crate::kernels::Window;

/// What is kept of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The largest value; the first of equal ones.
    Max,
    /// The mean of what lies in the picture.
    Mean,
    /// The mean with zeros around the picture counted.
    MeanWithPad,
}

/// A window that goes over every channel.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What is kept.
    pub pooling: Pooling,
    /// Sizes.
    pub window: Window,
}

impl Pool {
    /// Calls `each` with every output's place and the places of its channel that its window covers.
    fn walk(&self, mut each: impl FnMut(usize, &[usize])) {
        let w = &self.window;
        let mut covered = Vec::new();
        for output in 0..w.output[0] * w.output[1] {
            let (i, j) = (output / w.output[1], output % w.output[1]);
            covered.clear();
            for tap in 0..w.kernel[0] * w.kernel[1] {
                let row = (i * w.stride[0] + tap / w.kernel[1]).wrapping_sub(w.pad[0]);
                let column = (j * w.stride[1] + tap % w.kernel[1]).wrapping_sub(w.pad[1]);
                if row < w.input[0] && column < w.input[1] {
                    covered.push((row * w.input[1] + column) * w.channels);
                }
            }
            each(output * w.channels, &covered);
        }
    }

    fn share(&self, covered: &[usize]) -> f32 {
        let all = self.window.kernel[0] * self.window.kernel[1];
        1.0 / if self.pooling == Pooling::MeanWithPad { all } else { covered.len().max(1) } as f32
    }
}

/// The first of the places with the largest value.
fn largest(x: &[f32], covered: &[usize], channel: usize) -> Option<usize> {
    let mut best: Option<usize> = None;
    for place in covered.iter().map(|p| p + channel) {
        if best.is_none_or(|b| x[place] > x[b]) {
            best = Some(place);
        }
    }
    best
}

impl Op for Pool {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (size, out) = sizes(&self.window);
        cx.threads.split(output, out, |first, part| {
            for (i, y) in part.chunks_exact_mut(out).enumerate() {
                let x = &inputs[0][(first + i) * size..][..size];
                self.walk(|at, covered| {
                    let share = self.share(covered);
                    for channel in 0..self.window.channels {
                        y[at + channel] = match self.pooling {
                            Pooling::Max => largest(x, covered, channel).map_or(f32::NEG_INFINITY, |p| x[p]),
                            _ => covered.iter().map(|p| x[p + channel]).sum::<f32>() * share,
                        };
                    }
                });
            }
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (size, out) = sizes(&self.window);
        let (x, gradient) = (back.inputs[0], back.gradient);
        let Some(target) = back.target(0) else { return };
        cx.threads.split(target.cleared(), size, |first, part| {
            for (i, to) in part.chunks_exact_mut(size).enumerate() {
                let x = x.get((first + i) * size..(first + i + 1) * size).unwrap_or(&[]);
                let gradient = &gradient[(first + i) * out..][..out];
                self.walk(|at, covered| {
                    let share = self.share(covered);
                    for channel in 0..self.window.channels {
                        let g = gradient[at + channel];
                        if self.pooling == Pooling::Max {
                            if let Some(place) = largest(x, covered, channel) {
                                to[place] += g;
                            }
                        } else {
                            covered.iter().for_each(|p| to[p + channel] += g * share);
                        }
                    }
                });
            }
        });
    }

    fn reads_input(&self, _index: usize) -> bool {
        self.pooling == Pooling::Max
    }
}
