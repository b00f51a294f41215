//! Products of two computed matrices, one for each sample and head: attention. Matrices are shared out over threads.

use super::{Back, Context, Op};
use crate::{
    kernels::{self, Level, Product, Rows, Stack, Sums},
    threads::Threads,
};

/// `count` products for each sample: `rows × depth` by `depth × columns`.
#[derive(Clone, Debug)]
pub struct MatMul {
    /// Rows of the left matrix.
    pub rows: usize,
    /// Columns of the left matrix.
    pub depth: usize,
    /// Columns of the right matrix.
    pub columns: usize,
}

/// Memory of one thread.
struct Own {
    level: Level,
    packed: Vec<f32>,
    zeros: Vec<f32>,
}

impl Own {
    fn new(level: Level, depth: usize) -> Self {
        Self { level, packed: Vec::new(), zeros: vec![0.0; depth] }
    }

    /// `x`, rows of the stack's depth, by the stack.
    fn product(&mut self, x: &[f32], right: &Stack<'_>, (to, add): (&mut [f32], bool)) {
        let (depth, columns) = (right.depth, right.columns);
        let packed = kernels::pack(self.level, &Threads::new(1), right, &mut self.packed);
        let starts: Vec<usize> = (0..to.len() / columns).map(|r| r * depth).collect();
        let at: Vec<usize> = (0..to.len() / columns).map(|r| r * columns).collect();
        let product = Product { packed, columns, bias: &[], add, zeros: &self.zeros };
        kernels::product(self.level, &Rows { values: x, starts: &starts, taps: 1, depth }, &product, to, &at);
    }
}

impl Op for MatMul {
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]) {
        let (m, k, n, level) = (self.rows, self.depth, self.columns, cx.level);
        cx.threads.split(output, m * n, |first, part| {
            let mut own = Own::new(level, k);
            for (i, to) in part.chunks_exact_mut(m * n).enumerate() {
                let (a, b) = (&inputs[0][(first + i) * m * k..][..m * k], &inputs[1][(first + i) * k * n..][..k * n]);
                let right = Stack { values: b, tops: &[0], depth: k, columns: n, down: n, right: 1 };
                own.product(a, &right, (to, false));
            }
        });
    }

    fn backward(&mut self, cx: &mut Context<'_>, mut back: Back<'_, '_>) {
        let (m, k, n, level) = (self.rows, self.depth, self.columns, cx.level);
        let (left, right, gradient) = (back.inputs[0], back.inputs[1], back.gradient);
        if let Some(target) = back.target(0) {
            let add = target.adds();
            cx.threads.split(target.to, m * k, |first, part| {
                let mut own = Own::new(level, n);
                for (i, to) in part.chunks_exact_mut(m * k).enumerate() {
                    let (g, b) = (&gradient[(first + i) * m * n..][..m * n], &right[(first + i) * k * n..][..k * n]);
                    let turned = Stack { values: b, tops: &[0], depth: n, columns: k, down: 1, right: n };
                    own.product(g, &turned, (to, add));
                }
            });
        }
        if let Some(target) = back.target(1) {
            cx.threads.split(target.cleared(), k * n, |first, part| {
                for (i, to) in part.chunks_exact_mut(k * n).enumerate() {
                    let (a, g) = (&left[(first + i) * m * k..][..m * k], &gradient[(first + i) * m * n..][..m * n]);
                    let pairs: Vec<_> = (0..m).map(|r| (r * k, r * n)).collect();
                    kernels::outer(level, (a, g), &pairs, Sums { c: to, rows: k, columns: n, stride: n });
                }
            });
        }
    }

    fn reads_input(&self, _index: usize) -> bool {
        true
    }

    fn cheap(&self) -> bool {
        true
    }
}
