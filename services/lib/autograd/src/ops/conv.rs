//! Convolutions as products of matrices without a copy of the patches: a row of the left matrix is a pixel's patch,
//! named by where its taps begin in the picture. Pictures of a few channels are copied patch by patch after all, a
//! block at a time, as their runs would be too short. The backward pass is in `conv_back.rs`.

use std::ops::Range;

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

    /// Appends for each of these output pixels, counted through the batch, where its taps begin.
    pub(super) fn starts(&self, x: usize, pixels: Range<usize>, starts: &mut Vec<usize>) {
        let w = &self.window;
        let [height, width] = w.output;
        if self.taps() == 1 && w.stride == [1, 1] && w.pad == [0, 0] && w.input == w.output {
            starts.extend(pixels.map(|p| p * w.channels + x));
            return;
        }
        let (mut image, mut i, mut j) =
            (pixels.start / (height * width), pixels.start / width % height, pixels.start % width);
        for _ in pixels {
            let (top, left) = (i * w.stride[0], j * w.stride[1]);
            for a in 0..w.kernel[0] {
                let row = (top + a).wrapping_sub(w.pad[0]);
                let first = (image * w.input[0]).wrapping_add(row).wrapping_mul(w.input[1]);
                for e in 0..w.kernel[1] {
                    let column = (left + e).wrapping_sub(w.pad[1]);
                    let inside = row < w.input[0] && column < w.input[1];
                    starts.push(if inside { (first + column) * w.channels + x } else { NONE });
                }
            }
            j += 1;
            if j == width {
                (i, j) = (i + 1, 0);
            }
            if i == height {
                (image, i) = (image + 1, 0);
            }
        }
    }

    /// Copies the patches of these pixels, `stride` values each, the group's channels alone.
    pub(super) fn patches(&self, x: &[f32], starts: &[usize], (to, stride): (&mut [f32], usize)) {
        let depth = self.group().0;
        for (starts, to) in starts.chunks_exact(self.taps()).zip(to.chunks_exact_mut(stride)) {
            for (start, to) in starts.iter().zip(to.chunks_exact_mut(depth)) {
                match *start {
                    NONE => to.fill(0.0),
                    start => to.copy_from_slice(&x[start..start + depth]),
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
                self.starts(group * depth, first + block.start..first + block.end, &mut starts);
                if self.copies() {
                    let size = taps * depth;
                    self.patches(x, &starts, (&mut patches, size));
                    starts.clear();
                    starts.extend((0..block.len()).map(|p| p * size));
                    let rows = Rows { values: &patches, starts: &starts, taps: 1, depth: size };
                    kernels::product(level, &rows, &Product { zeros: &patches, ..product }, part, &at);
                    continue;
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
        bias_back(cx, &mut back, 2, self.out);
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

/// Adds to the gradient of a bias: the sums of the output's gradient over all but its `channels`.
pub(super) fn bias_back(cx: &Context<'_>, back: &mut Back<'_, '_>, index: usize, channels: usize) {
    if back.target(index).is_some() {
        let sums = column_sums(cx, back.gradient, channels);
        back.add_sums(index, sums.into_iter());
    }
}

/// Sum of every channel over all rows.
fn column_sums(cx: &Context<'_>, x: &[f32], c: usize) -> Vec<f64> {
    let level = cx.level;
    let sums = |r: Range<usize>| kernels::column_sums(level, &x[r.start * c..r.end * c], c);
    super::total(cx.threads.ranges(x.len() / c, x.len() > 1 << 14, sums))
}
