//! Runs the steps of a plan: lends each operator the slots it reads and writes. Slots are kept from pass to pass, so
//! that a step asks the system for no memory. Caller: `network.rs`.

use std::mem;

use crate::{
    graph::{Arg, Graph},
    kernels::{self, Level},
    ops::{Back, Context, Mode, Scratch, Target},
    plan::{Plan, Step},
    threads::Threads,
};

/// Memory, and what runs on it.
pub struct Machine {
    /// How work is spread.
    pub threads: Threads,
    /// Vector instructions in use.
    pub level: Level,
    slots: Vec<Vec<f32>>,
    scratch: Scratch,
}

/// What is the same for all steps of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Samples.
    pub n: usize,
    /// Not evaluation.
    pub training: bool,
    /// Seed of what is random.
    pub seed: u64,
}

impl Machine {
    /// Without memory as yet.
    pub fn new(threads: Threads) -> Self {
        Self { threads, level: Level::best(), slots: Vec::new(), scratch: Scratch::default() }
    }

    /// Has the slots of a plan ready for `n` samples.
    pub fn reserve(&mut self, plan: &Plan, n: usize) {
        self.slots.resize_with(self.slots.len().max(plan.slots.len()), Vec::new);
        for (slot, size) in self.slots.iter_mut().zip(&plan.slots) {
            if slot.len() < size.total(n) {
                // Nothing of the old content is needed: no copy of it.
                *slot = vec![0.0; size.total(n)];
            }
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|s| 4 * s.len()).sum::<usize>() + self.scratch.bytes()
    }

    /// The first `len` numbers of a slot.
    pub fn slot(&mut self, slot: usize, len: usize) -> &mut [f32] {
        &mut self.slots[slot][..len]
    }

    /// Runs steps in order.
    pub fn run(&mut self, graph: &mut Graph, steps: &[Step], pass: Pass) {
        for step in steps {
            match step {
                Step::Forward { .. } => self.forward(graph, step, pass),
                Step::Backward { .. } => self.backward(graph, step, pass),
                Step::Join { value, from, to, add } => {
                    let len = graph.values[*value].total(pass.n);
                    let mut target = mem::take(&mut self.slots[*to]);
                    let (level, source) = (self.level, &self.slots[*from][..len]);
                    self.threads.split(&mut target[..len], 1, |first, to| {
                        let from = &source[first..first + to.len()];
                        if *add { kernels::add(level, from, to) } else { to.copy_from_slice(from) }
                    });
                    self.slots[*to] = target;
                }
            }
        }
    }

    fn forward(&mut self, graph: &mut Graph, step: &Step, pass: Pass) {
        let Step::Forward { node: index, inputs, output, again } = step else { return };
        let mut made = mem::take(&mut self.slots[*output]);
        let Graph { values, nodes, parameters, constants, .. } = graph;
        let node = &mut nodes[*index];
        let value = values[node.output];
        let read = |arg: &Arg, slot: &Option<usize>| match (arg, slot) {
            (Arg::Value(v), Some(slot)) => &self.slots[*slot][..values[*v].total(pass.n)],
            (Arg::Value(_), None) => &[],
            (Arg::Parameter(p), _) => &*parameters[*p].value,
            (Arg::Constant(c), _) => &*constants[*c],
        };
        let read: Vec<&[f32]> = node.inputs.iter().zip(inputs).map(|(a, s)| read(a, s)).collect();
        let mut cx = context(&mut self.scratch, (self.threads, self.level), (pass, *index));
        cx.again = *again;
        node.op.forward(&mut cx, &read, &mut made[..value.total(pass.n)]);
        drop(read);
        self.slots[*output] = made;
    }

    fn backward(&mut self, graph: &mut Graph, step: &Step, pass: Pass) {
        let Step::Backward { node: index, inputs, output, gradient, targets } = step else { return };
        let Graph { values, nodes, parameters, constants, .. } = graph;
        let node = &mut nodes[*index];
        let value = values[node.output];
        // Taken out for as long as they are written to.
        let mut taken: Vec<Option<(Vec<f32>, usize, Mode)>> = Vec::with_capacity(node.inputs.len());
        for (arg, target) in node.inputs.iter().zip(targets) {
            taken.push(match (arg, target) {
                (Arg::Parameter(p), _) => {
                    let gradient = mem::take(&mut parameters[*p].gradient);
                    let len = gradient.len();
                    Some((gradient, len, Mode::Add))
                }
                (Arg::Value(v), Some((slot, mode))) => {
                    Some((mem::take(&mut self.slots[*slot]), values[*v].total(pass.n), *mode))
                }
                _ => None,
            });
        }
        let read = |arg: &Arg, slot: &Option<usize>| match (arg, slot) {
            (Arg::Value(v), Some(slot)) => self.slots[*slot].get(..values[*v].total(pass.n)).unwrap_or(&[]),
            (Arg::Value(_), None) => &[],
            (Arg::Parameter(p), _) => &*parameters[*p].value,
            (Arg::Constant(c), _) => &*constants[*c],
        };
        let read: Vec<&[f32]> = node.inputs.iter().zip(inputs).map(|(a, s)| read(a, s)).collect();
        let len = value.total(pass.n);
        let whole = |slot: usize| self.slots[slot].get(..len).unwrap_or(&[]);
        let (output, gradient) = (output.map_or(&[][..], whole), whole(*gradient));
        let mut places: Vec<Option<Target<'_>>> = taken
            .iter_mut()
            .map(|t| t.as_mut().map(|(values, len, mode)| Target { to: &mut values[..*len], mode: *mode }))
            .collect();
        let mut cx = context(&mut self.scratch, (self.threads, self.level), (pass, *index));
        node.op.backward(&mut cx, Back { inputs: &read, output, gradient, targets: &mut places });
        for ((arg, target), taken) in node.inputs.iter().zip(targets).zip(taken) {
            match (arg, target, taken) {
                (Arg::Parameter(p), _, Some((gradient, ..))) => parameters[*p].gradient = gradient,
                (Arg::Value(_), Some((slot, _)), Some((values, ..))) => self.slots[*slot] = values,
                _ => {}
            }
        }
    }
}

fn context(scratch: &mut Scratch, (threads, level): (Threads, Level), (pass, node): (Pass, usize)) -> Context<'_> {
    // Every node draws numbers of its own.
    let seed = pass.seed ^ (node as u64 + 1).wrapping_mul(0xd605_1f4b_3c8a_9e35);
    Context { threads, level, training: pass.training, again: false, seed, scratch }
}
