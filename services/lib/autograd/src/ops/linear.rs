//! Dense layers: rows by a matrix of weights, with a bias. Where there are fewer rows than outputs, as at the end of an
//! image network, the weights are read where they lie; elsewhere they are packed.

use super::{Back, Context, Op, Scratch, conv::bias_back};
use crate::kernels::{self, Product, Rows, Stack, Sums};

/// Rows that are worked on before the next.
const BLOCK: usize = 128;
/// Up to this many rows the weights are the larger operand by far.
const FEW: usize = 64;
/// Rows of outer products that are gone through before the next.
const CACHED: usize = 1 << 16;

/// `x · W + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Length of a row.
    pub inputs: usize,
    /// Length of a row of the result.
    pub outputs: usize,
    /// Weights lie output by output, each with all inputs; else input by input.
    pub by_output: bool,
}

impl Linear {
    fn few(&self, rows: usize) -> bool {
        rows <= FEW && rows < self.outputs && self.by_output
    }

    /// Weights as rows, each multiplied with all of the few inputs: the result lies turned.
    fn forward_few(&self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (x, weights, level) = (inputs[0], inputs[1], cx.level);
        let rows = output.len() / self.outputs;
        let stack = Stack { values: x, tops: &[0], depth: self.inputs, columns: rows, down: 1, right: self.inputs };
        let packed = kernels::pack(level, &cx.threads, &stack, &mut cx.scratch.packed);
        let turned = Scratch::grow(&mut cx.scratch.sums, output.len());
        let zeros = &*Scratch::grow(&mut cx.scratch.zeros, self.inputs);
        let product = Product { packed, columns: rows, bias: &[], add: false, zeros };
        cx.threads.split_by(turned, rows, true, |first, part| {
            let many = part.len() / rows;
            let starts: Vec<usize> = (first..first + many).map(|o| o * self.inputs).collect();
            let at: Vec<usize> = (0..many).map(|o| o * rows).collect();
            let left = Rows { values: weights, starts: &starts, taps: 1, depth: self.inputs };
            kernels::product(level, &left, &product, part, &at);
        });
        for (r, output) in output.chunks_exact_mut(self.outputs).enumerate() {
            for (o, value) in output.iter_mut().enumerate() {
                *value = turned[o * rows + r] + inputs.get(2).map_or(0.0, |b| b[o]);
            }
        }
    }

    fn inputs_back(&self, cx: &mut Context<'_>, (gradient, weights): (&[f32], &[f32]), target: &mut super::Target<'_>) {
        let level = cx.level;
        let rows = gradient.len() / self.outputs;
        if self.few(rows) {
            let mut turned = vec![0.0; gradient.len()];
            for (r, gradient) in gradient.chunks_exact(self.outputs).enumerate() {
                gradient.iter().enumerate().for_each(|(o, g)| turned[o * rows + r] = *g);
            }
            cx.threads.split(target.cleared(), self.inputs, |first, to| {
                let pairs: Vec<_> = (0..self.outputs).map(|o| (o * rows + first, o * self.inputs)).collect();
                let rows = to.len() / self.inputs;
                let sums = Sums { c: to, rows, columns: self.inputs, stride: self.inputs };
                kernels::outer(level, (&turned, weights), &pairs, sums);
            });
            return;
        }
        let (down, right) = if self.by_output { (self.inputs, 1) } else { (1, self.outputs) };
        let stack = Stack { values: weights, tops: &[0], depth: self.outputs, columns: self.inputs, down, right };
        let add = target.adds();
        dense(cx, (gradient, &[]), &stack, (target.to, add));
    }

    fn weights_back(&self, cx: &Context<'_>, (x, gradient): (&[f32], &[f32]), to: &mut [f32]) {
        let level = cx.level;
        let rows = gradient.len() / self.outputs;
        // The factor whose columns become rows of the sums, and the other one.
        let (left, right) = if self.by_output { (gradient, x) } else { (x, gradient) };
        let (high, wide) = if self.by_output { (self.outputs, self.inputs) } else { (self.inputs, self.outputs) };
        let block = (CACHED / (self.inputs + self.outputs)).clamp(32, 512);
        cx.threads.split(to, wide, |first, to| {
            for from in (0..rows).step_by(block) {
                let pairs: Vec<_> = (from..(from + block).min(rows)).map(|r| (r * high + first, r * wide)).collect();
                let sums = Sums { rows: to.len() / wide, c: to, columns: wide, stride: wide };
                kernels::outer(level, (left, right), &pairs, sums);
            }
        });
    }
}

/// Rows one behind the other by a matrix that is packed for it.
fn dense(cx: &mut Context<'_>, (x, bias): (&[f32], &[f32]), right: &Stack<'_>, (to, add): (&mut [f32], bool)) {
    let (depth, columns, level) = (right.depth, right.columns, cx.level);
    let packed = kernels::pack(level, &cx.threads, right, &mut cx.scratch.packed);
    let zeros = &*Scratch::grow(&mut cx.scratch.zeros, depth);
    let product = Product { packed, columns, bias, add, zeros };
    cx.threads.split(to, columns, |first, part| {
        let rows = part.len() / columns;
        for from in (0..rows).step_by(BLOCK) {
            let block = from..(from + BLOCK).min(rows);
            let starts: Vec<usize> = block.clone().map(|r| (first + r) * depth).collect();
            let at: Vec<usize> = block.map(|r| r * columns).collect();
            kernels::product(level, &Rows { values: x, starts: &starts, taps: 1, depth }, &product, part, &at);
        }
    });
}

impl Op for Linear {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        if self.few(output.len() / self.outputs) {
            self.forward_few(cx, inputs, output);
            return;
        }
        let (down, right) = if self.by_output { (1, self.inputs) } else { (self.outputs, 1) };
        let stack = Stack { values: inputs[1], tops: &[0], depth: self.inputs, columns: self.outputs, down, right };
        dense(cx, (inputs[0], inputs.get(2).map_or(&[], |b| b)), &stack, (output, false));
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (x, weights, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        bias_back(cx, &mut back, 2, self.outputs);
        if let Some(target) = back.target(1) {
            self.weights_back(cx, (x, gradient), target.cleared());
        }
        if let Some(target) = back.target(0) {
            self.inputs_back(cx, (gradient, weights), target);
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }
}
