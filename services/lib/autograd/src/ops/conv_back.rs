//! The two backward passes of a convolution: gradients of weights as sums of outer products over pixels, gradients of
//! inputs as convolutions again, one for each phase of the step. Caller: `conv.rs`.

use std::ops::Range;

use super::{
    Context, Scratch, Target,
    conv::{BLOCK, Conv},
};
use crate::kernels::{self, NONE, Product, Rows, Stack, Sums};

/// Values of both factors that are gone through before the next: half of what a core's own cache holds.
const CACHED: usize = 1 << 16;
/// Sums up to this size are made by each thread for pixels of its own; larger ones are shared out by channels.
const OWN: usize = 1 << 16;

impl Conv {
    /// Adds to the gradient of one group's weights.
    pub(super) fn weights_back(&self, cx: &mut Context<'_>, from: (&[f32], &[f32]), group: usize, to: &mut [f32]) {
        let (taps, (depth, columns)) = (self.taps(), self.group());
        // Sums lie as `columns` rows of taps of `depth`, padded where patches are copied.
        let run = if self.copies() { (taps * depth).next_multiple_of(32) } else { taps * depth };
        let to = &mut to[group * columns * taps * depth..][..columns * taps * depth];
        let pixels = from.1.len() / self.out;
        let threads = cx.threads;
        if columns * run <= OWN {
            let part = |r: Range<usize>| {
                let mut sums = vec![0.0; columns * run];
                self.outer(cx.level, from, (r, 0..columns, group), (&mut sums, run));
                sums
            };
            for sums in threads.ranges(pixels, true, part) {
                self.add_turned(&sums, run, to);
            }
            return;
        }
        let level = cx.level;
        if taps == 1 {
            threads.split(to, run, |first, to| {
                let rows = first..first + to.len() / run;
                self.outer(level, from, (0..pixels, rows, group), (to, run));
            });
            return;
        }
        let sums = Scratch::grow(&mut cx.scratch.sums, columns * run);
        threads.split(sums, run, |first, sums| {
            sums.fill(0.0);
            let rows = first..first + sums.len() / run;
            self.outer(level, from, (0..pixels, rows, group), (sums, run));
        });
        self.add_turned(sums, run, to);
    }

    /// Sums of outer products of these output channels with the patches of these pixels.
    fn outer(
        &self,
        level: kernels::Level,
        (x, gradient): (&[f32], &[f32]),
        (pixels, rows, group): (Range<usize>, Range<usize>, usize),
        (sums, run): (&mut [f32], usize),
    ) {
        let (taps, (depth, columns)) = (self.taps(), self.group());
        let block = (CACHED / (self.out + self.window.channels)).clamp(64, 512);
        let mut pairs = Vec::with_capacity(block);
        let mut patches = vec![0.0; if self.copies() { block * run } else { 0 }];
        let row = group * columns + rows.start;
        for from in pixels.clone().step_by(block) {
            let some = from..(from + block).min(pixels.end);
            if self.copies() {
                self.patches(x, some.clone(), group, (&mut patches, run));
                pairs.clear();
                pairs.extend(some.enumerate().map(|(i, p)| (p * self.out + row, i * run)));
                let to = Sums { c: sums, rows: rows.len(), columns: run, stride: run };
                kernels::outer(level, (gradient, &patches), &pairs, to);
                continue;
            }
            for tap in 0..taps {
                pairs.clear();
                pairs.extend(some.clone().filter_map(|p| match self.start(p, tap) {
                    NONE => None,
                    start => Some((p * self.out + row, start + group * depth)),
                }));
                let to = Sums { c: &mut sums[tap * depth..], rows: rows.len(), columns: depth, stride: run };
                kernels::outer(level, (gradient, x), &pairs, to);
            }
        }
    }

    /// Adds sums, tap before channel, to weights, channel before tap.
    fn add_turned(&self, sums: &[f32], run: usize, to: &mut [f32]) {
        let (taps, depth) = (self.taps(), self.group().0);
        for (sums, to) in sums.chunks_exact(run).zip(to.chunks_exact_mut(taps * depth)) {
            if taps == 1 {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
                continue;
            }
            for (channel, to) in to.chunks_exact_mut(taps).enumerate() {
                for (tap, to) in to.iter_mut().enumerate() {
                    *to += sums[tap * depth + channel];
                }
            }
        }
    }

    /// Gradient of one group's inputs.
    pub(super) fn inputs_back(
        &self,
        cx: &mut Context<'_>,
        (gradient, weights): (&[f32], &[f32]),
        group: usize,
        target: &mut Target<'_>,
    ) {
        let (w, taps, (depth, columns)) = (&self.window, self.taps(), self.group());
        let (level, add) = (cx.level, target.adds());
        for phase in 0..w.stride[0] * w.stride[1] {
            let phase = [phase / w.stride[1], phase % w.stride[1]];
            let read = |axis: usize, tap: usize| (phase[axis] + w.pad[axis]) % w.stride[axis] == tap % w.stride[axis];
            let taken: Vec<usize> =
                (0..taps).filter(|t| read(0, t / w.kernel[1]) && read(1, t % w.kernel[1])).collect();
            let tops: Vec<usize> = taken.iter().map(|t| group * columns * depth * taps + t).collect();
            let stack =
                Stack { values: weights, tops: &tops, depth: columns, columns: depth, down: depth * taps, right: taps };
            let packed = kernels::pack(level, &cx.threads, &stack, &mut cx.scratch.packed);
            let zeros = &*Scratch::grow(&mut cx.scratch.zeros, columns);
            let product = Product { packed, columns: depth, bias: &[], add, zeros };
            cx.threads.split(target.to, w.input[1] * w.channels, |first, part| {
                self.phase_back(level, (gradient, &product), (phase, &taken, group), (first, part));
            });
        }
    }

    /// One phase of rows of input pixels, of which `part` begins with the row `first`.
    fn phase_back(
        &self,
        level: kernels::Level,
        (gradient, product): (&[f32], &Product<'_>),
        (phase, taken, group): ([usize; 2], &[usize], usize),
        (first, part): (usize, &mut [f32]),
    ) {
        let (w, (depth, columns)) = (&self.window, self.group());
        let (mut starts, mut at) = (Vec::with_capacity(BLOCK * taken.len()), Vec::with_capacity(BLOCK));
        let rows = part.len() / (w.input[1] * w.channels);
        for row in 0..rows {
            let (image, i) = ((first + row) / w.input[0], (first + row) % w.input[0]);
            if i % w.stride[0] != phase[0] {
                continue;
            }
            for j in (phase[1]..w.input[1]).step_by(w.stride[1]) {
                at.push((row * w.input[1] + j) * w.channels + group * depth);
                starts.extend(taken.iter().map(|t| self.reader(image, i, j, *t).map_or(NONE, |s| s + group * columns)));
                if at.len() == BLOCK {
                    let rows = Rows { values: gradient, starts: &starts, taps: taken.len(), depth: columns };
                    kernels::product(level, &rows, product, part, &at);
                    starts.clear();
                    at.clear();
                }
            }
        }
        let rows = Rows { values: gradient, starts: &starts, taps: taken.len(), depth: columns };
        kernels::product(level, &rows, product, part, &at);
    }

    /// Where the output begins that reads this input pixel through this tap of its phase.
    fn reader(&self, image: usize, i: usize, j: usize, tap: usize) -> Option<usize> {
        let w = &self.window;
        let row = (i + w.pad[0]).checked_sub(tap / w.kernel[1])? / w.stride[0];
        let column = (j + w.pad[1]).checked_sub(tap % w.kernel[1])? / w.stride[1];
        let there = row < w.output[0] && column < w.output[1];
        there.then(|| ((image * w.output[0] + row) * w.output[1] + column) * self.out)
    }
}
