//! The operators of a differentiable graph, a file for each family with both of its passes. Callers: `import`, which
//! makes them, and `execute.rs`, which runs them.

mod binary;
mod concat;
mod conv;
mod conv_back;
mod depthwise;
mod dropout;
mod expand;
mod geometry;
mod grouped;
mod layer_norm;
mod linear;
mod matmul;
mod norm_act;
mod permute;
mod pool;
mod reduce;
mod softmax;
mod take;
mod unary;

pub use binary::{Arithmetic, Binary};
pub use concat::Concat;
pub use conv::Conv;
pub use depthwise::Depthwise;
pub use dropout::Dropout;
pub use expand::Expand;
pub use geometry::Strides;
pub use grouped::Grouped;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use matmul::MatMul;
pub use norm_act::{NormAct, Running, Slope};
pub use permute::Permute;
pub use pool::{Pool, Pooling};
pub use reduce::Mean;
pub use softmax::Softmax;
pub use take::Take;
pub use unary::Function;

use crate::{
    kernels::{Flow, Level},
    threads::Threads,
};

/// One operation: values in, one value out. Sizes are fixed when it is made; the number of samples is told each time.
pub trait Op: Send {
    /// Computes the output, whose former content is of no meaning.
    fn forward(&mut self, cx: &mut Context<'_>, inputs: &[&[f32]], output: &mut [f32]);

    /// Takes the gradient of the output back to the inputs that want one.
    fn backward(&mut self, cx: &mut Context<'_>, back: Back<'_, '_>);

    /// Whether [`Self::backward`] reads this input.
    fn reads_input(&self, index: usize) -> bool;

    /// Whether [`Self::backward`] reads the output.
    fn reads_output(&self) -> bool {
        false
    }

    /// Whether the first input's gradient may take the place of the output's.
    fn in_place(&self) -> bool {
        false
    }

    /// Whether the output's gradient is every input's, unchanged; `backward` is then never called.
    fn passes(&self) -> bool {
        false
    }

    /// Whether computing the output again costs less than the memory it takes until it is read in the backward pass.
    fn cheap(&self) -> bool {
        false
    }

    /// What a batch normalisation knows beside its parameters.
    fn running(&self) -> Option<&Running> {
        None
    }

    /// The same, to be set.
    fn running_mut(&mut self) -> Option<&mut Running> {
        None
    }
}

/// What an operator works with.
pub struct Context<'a> {
    /// How work is spread.
    pub threads: Threads,
    /// Vector instructions to use.
    pub level: Level,
    /// Not evaluation: dropout drops, statistics are the batch's where that was asked for.
    pub training: bool,
    /// What [`Op::forward`] is called for was computed before in this pass: statistics are not updated again.
    pub again: bool,
    /// Seed of what is random, the node's own.
    pub seed: u64,
    /// Memory that operators share, one after the other.
    pub scratch: &'a mut Scratch,
}

/// Memory between two lines of one operator's code, kept so that it is not asked of the system each time.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A packed matrix.
    pub packed: Vec<f32>,
    /// Sums that end in another order.
    pub sums: Vec<f32>,
    /// Zeros, as many as any operator asked for.
    pub zeros: Vec<f32>,
}

impl Scratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.packed.capacity() + self.sums.capacity() + self.zeros.capacity())
    }

    /// As many values, whatever they are.
    pub fn grow(values: &mut Vec<f32>, len: usize) -> &mut [f32] {
        if values.len() < len {
            values.resize(len, 0.0);
        }
        &mut values[..len]
    }
}

/// What the backward pass of an operator has. Slices of what it said not to read are empty.
pub struct Back<'a, 'b> {
    /// Inputs as they were in the forward pass.
    pub inputs: &'a [&'a [f32]],
    /// The output as it was.
    pub output: &'a [f32],
    /// Gradient of the output; empty where it lies in the first target.
    pub gradient: &'a [f32],
    /// Where each input's gradient goes; none for an input that wants none.
    pub targets: &'a mut [Option<Target<'b>>],
}

impl<'b> Back<'_, 'b> {
    /// The target of the input at `index`, where there is such an input and it wants a gradient.
    pub fn target(&mut self, index: usize) -> Option<&mut Target<'b>> {
        self.targets.get_mut(index).and_then(Option::as_mut)
    }

    /// Adds to the gradient of a parameter.
    pub fn add_sums(&mut self, index: usize, sums: impl Iterator<Item = f64>) {
        if let Some(target) = self.target(index) {
            for (to, sum) in target.to.iter_mut().zip(sums) {
                *to += sum as f32;
            }
        }
    }
}

/// Where a gradient goes.
pub struct Target<'a> {
    /// The place.
    pub to: &'a mut [f32],
    /// What becomes of what is there.
    pub mode: Mode,
}

/// What becomes of what is in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It has no meaning.
    Write,
    /// It is added to. Always so for parameters.
    Add,
    /// It is the output's gradient.
    InPlace,
}

impl Target<'_> {
    /// How a kernel that goes value by value shall go, and where.
    pub fn flow<'g>(&mut self, gradient: &'g [f32]) -> (Flow<'g>, &mut [f32]) {
        let from = (self.mode != Mode::InPlace).then_some(gradient);
        (Flow { from, add: self.mode == Mode::Add }, self.to)
    }

    /// The place, with zeros where nothing meaningful was there: for adding to.
    pub fn cleared(&mut self) -> &mut [f32] {
        if self.mode == Mode::Write {
            self.to.fill(0.0);
        }
        self.to
    }

    /// Whether to add.
    pub const fn adds(&self) -> bool {
        matches!(self.mode, Mode::Add)
    }
}

/// The flow for a part of the rows that begins at `first` values.
pub fn part_of(flow: Flow<'_>, first: usize, len: usize) -> Flow<'_> {
    Flow { from: flow.from.map(|f| &f[first..first + len]), add: flow.add }
}

/// Adds up what the threads found, in their order.
pub fn total(parts: Vec<Vec<f64>>) -> Vec<f64> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        for (to, value) in total.iter_mut().zip(part) {
            *to += value;
        }
    }
    total
}
