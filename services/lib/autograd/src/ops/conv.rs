//! Convolutions as products of matrices without a copy of the patches: a row of the left matrix is a pixel's patch,
//! named by where its taps begin in the picture. Pictures of a few channels are copied patch by patch after all, a
//! block at a time, as their runs would be too short. The backward pass is in `conv_back.rs`.

use super::{Back, Context, Op, Scratch};
use crate::kernels::{self, NONE, Product, Rows, Stack, Window};

/// Pixels that are worked on before the next: what they read and write stays in the cache.
pub(super) const BLOCK: usize = 128;
/// Runs shorter than this are not worth a tap of their own.
const SHORT: usize = 16;

/// A convolution over pictures whose channels lie next to each other.
#[derive(Clone, Debug)]
pub struct Conv {
    /// Sizes; channels are the input's.
    pub window: Window,
    /// Channels of the output.
    pub out: usize,
    /// Groups of channels.
    pub groups: usize,
}

impl Conv {
    /// Taps of the filter.
    pub(super) fn taps(&self) -> usize {
        self.window.kernel[0] * self.window.kernel[1]
    }

    /// Channels of a group, in and out.
    pub(super) fn group(&self) -> (usize, usize) {
        (self.window.channels / self.groups, self.out / self.groups)
    }

    /// Whether patches are copied.
    pub(super) fn copies(&self) -> bool {
        self.group().0 < SHORT && self.taps() > 1
    }

    /// Where the tap of an output pixel begins; `pixel` counts through the batch.
    #[inline]
    pub(super) fn start(&self, pixel: usize, tap: usize) -> usize {
        let w = &self.window;
        let [height, width] = w.output;
        let (image, i, j) = (pixel / (height * width), pixel / width % height, pixel % width);
        let row = (i * w.stride[0] + tap / w.kernel[1]).wrapping_sub(w.pad[0]);
        let column = (j * w.stride[1] + tap % w.kernel[1]).wrapping_sub(w.pad[1]);
        if row < w.input[0] && column < w.input[1] {
            ((image * w.input[0] + row) * w.input[1] + column) * w.channels
        } else {
            NONE
        }
    }

    /// Copies the patches of these pixels, `stride` values each, the group's channels alone.
    pub(super) fn patches(
        &self,
        x: &[f32],
        pixels: std::ops::Range<usize>,
        group: usize,
        (to, stride): (&mut [f32], usize),
    ) {
        let depth = self.group().0;
        for (pixel, to) in pixels.zip(to.chunks_exact_mut(stride)) {
            for tap in 0..self.taps() {
                let to = &mut to[tap * depth..][..depth];
                match self.start(pixel, tap) {
                    NONE => to.fill(0.0),
                    start => to.copy_from_slice(&x[start + group * depth..][..depth]),
                }
            }
        }
    }

    fn forward_group(&self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32], group: usize) {
        let (taps, (depth, columns), level) = (self.taps(), self.group(), cx.level);
        let tops: Vec<usize> = (0..taps).map(|t| group * columns * depth * taps + t).collect();
        let stack = Stack { values: inputs[1], tops: &tops, depth, columns, down: taps, right: depth * taps };
        let packed = kernels::pack(level, &cx.threads, &stack, &mut cx.scratch.packed);
        let zeros = &*Scratch::grow(&mut cx.scratch.zeros, depth);
        let bias = inputs.get(2).map_or(&[][..], |b| &b[group * columns..][..columns]);
        let product = Product { packed, columns, bias, add: false, zeros };
        let x = inputs[0];
        cx.threads.split(output, self.out, |first, part| {
            let pixels = part.len() / self.out;
            let (mut starts, mut at) = (Vec::with_capacity(BLOCK * taps), Vec::with_capacity(BLOCK));
            let mut patches = vec![0.0; if self.copies() { BLOCK * taps * depth } else { 0 }];
            for from in (0..pixels).step_by(BLOCK) {
                let block = from..(from + BLOCK).min(pixels);
                at.clear();
                at.extend(block.clone().map(|p| p * self.out + group * columns));
                starts.clear();
                if self.copies() {
                    let size = taps * depth;
                    self.patches(x, first + block.start..first + block.end, group, (&mut patches, size));
                    starts.extend((0..block.len()).map(|p| p * size));
                    let rows = Rows { values: &patches, starts: &starts, taps: 1, depth: size };
                    kernels::product(level, &rows, &Product { zeros: &patches, ..product }, part, &at);
                    continue;
                }
                for pixel in block {
                    starts.extend((0..taps).map(|t| match self.start(first + pixel, t) {
                        NONE => NONE,
                        start => start + group * depth,
                    }));
                }
                kernels::product(level, &Rows { values: x, starts: &starts, taps, depth }, &product, part, &at);
            }
        });
    }
}

impl Op for Conv {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        for group in 0..self.groups {
            self.forward_group(cx, inputs, output, group);
        }
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (x, weights, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        if back.target(2).is_some() {
            let sums = column_sums(cx, gradient, self.out);
            back.add_sums(2, sums.into_iter());
        }
        for group in 0..self.groups {
            if let Some(target) = back.target(1) {
                self.weights_back(cx, (x, gradient), group, target.to);
            }
        }
        if let Some(target) = back.target(0) {
            for group in 0..self.groups {
                self.inputs_back(cx, (gradient, weights), group, target);
            }
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }
}

/// Sum of every channel over all rows.
pub(super) fn column_sums(cx: &Context<'_>, x: &[f32], c: usize) -> Vec<f64> {
    let level = cx.level;
    let sums = |r: std::ops::Range<usize>| kernels::column_sums(level, &x[r.start * c..r.end * c], c);
    super::total(cx.threads.ranges(x.len() / c, x.len() > 1 << 14, sums))
}
