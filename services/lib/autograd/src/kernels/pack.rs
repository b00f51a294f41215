//! The right matrix of a product, copied so that a tile reads it in one stream: panels of as many columns as a tile
//! has, each with all rows one after the other. Caller: the operators, once for each use of a weight.

use super::Level;
use crate::threads::Threads;

/// Matrices of the same size, one below the other: element (k, j) of the t-th lies at `tops[t] + k · down + j · right`.
#[derive(Clone, Copy, Debug)]
pub struct Stack<'a> {
    /// Where all values lie.
    pub values: &'a [f32],
    /// Where each matrix begins.
    pub tops: &'a [usize],
    /// Rows of each.
    pub depth: usize,
    /// Columns of each.
    pub columns: usize,
    /// From a row to the next.
    pub down: usize,
    /// From a column to the next.
    pub right: usize,
}

/// How many values the packed form has.
const fn packed_len(level: Level, rows: usize, columns: usize) -> usize {
    columns.div_ceil(level.width()) * level.width() * rows
}

/// Packs into the front of `to`, which grows where it is too small.
pub fn pack<'t>(level: Level, threads: &Threads, stack: &Stack<'_>, to: &'t mut Vec<f32>) -> &'t [f32] {
    let rows = stack.tops.len() * stack.depth;
    let len = packed_len(level, rows, stack.columns);
    if to.len() < len {
        to.resize(len, 0.0);
    }
    let width = level.width();
    let to = &mut to[..len];
    if rows > 0 {
        threads.split(to, rows * width, |first, part| {
            for (p, panel) in part.chunks_exact_mut(rows * width).enumerate() {
                one_panel(stack, (first + p) * width, width, panel);
            }
        });
    }
    to
}

/// Rows that are read along before the next column: their cache lines are still there for it.
const BLOCK: usize = 16;

fn one_panel(stack: &Stack<'_>, column: usize, width: usize, panel: &mut [f32]) {
    let columns = (stack.columns - column).min(width);
    for (&top, panel) in stack.tops.iter().zip(panel.chunks_exact_mut(stack.depth * width)) {
        let top = top + column * stack.right;
        for (block, rows) in panel.chunks_mut(BLOCK * width).enumerate() {
            let top = top + block * BLOCK * stack.down;
            if stack.right == 1 {
                for (k, row) in rows.chunks_exact_mut(width).enumerate() {
                    row[..columns].copy_from_slice(&stack.values[top + k * stack.down..][..columns]);
                    row[columns..].fill(0.0);
                }
                continue;
            }
            for j in 0..width {
                for (k, row) in rows.chunks_exact_mut(width).enumerate() {
                    row[j] = if j < columns { stack.values[top + k * stack.down + j * stack.right] } else { 0.0 };
                }
            }
        }
    }
}
