//! A graph as the engine runs it: values with fixed sizes, and nodes in the order in which they are computed.
//! Made by `import`, laid out in memory by `plan.rs`, run by `execute.rs`.

use crate::{Parameter, ops::Op};

/// A value between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// How many numbers: for each sample, or altogether.
    pub len: usize,
    /// Whether every sample has its own.
    pub batched: bool,
}

impl Value {
    /// How many numbers for `n` samples.
    pub const fn total(self, n: usize) -> usize {
        if self.batched { self.len * n } else { self.len }
    }
}

/// What a node reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// What another node made, or the input.
    Value(usize),
    /// A trained tensor.
    Parameter(usize),
    /// A tensor that stays as it is.
    Constant(usize),
}

/// One operation of the graph.
pub struct Node {
    /// What it does.
    pub op: Box<dyn Op>,
    /// What it reads.
    pub inputs: Vec<Arg>,
    /// What it makes.
    pub output: usize,
}

/// The whole.
#[derive(Default)]
pub struct Graph {
    /// All values.
    pub values: Vec<Value>,
    /// All nodes, each behind what it reads.
    pub nodes: Vec<Node>,
    /// Trained tensors, in the order in which nodes first read them.
    pub parameters: Vec<Parameter>,
    /// Tensors that stay as they are.
    pub constants: Vec<Vec<f32>>,
    /// The value that is fed.
    pub input: usize,
    /// The value that is asked for.
    pub output: usize,
}

impl Graph {
    /// For each value whether a gradient has to reach it: whether a parameter went into it.
    pub fn learned(&self) -> Vec<bool> {
        let mut learned = vec![false; self.values.len()];
        for node in &self.nodes {
            learned[node.output] = node.inputs.iter().any(|arg| match arg {
                Arg::Value(v) => learned[*v],
                Arg::Parameter(_) => true,
                Arg::Constant(_) => false,
            });
        }
        learned
    }

    /// Drops nodes whose output nobody needs, and parameters that only they read.
    pub fn prune(&mut self) {
        let mut needed = vec![false; self.values.len()];
        needed[self.output] = true;
        for node in self.nodes.iter().rev() {
            if needed[node.output] {
                node.inputs.iter().for_each(|arg| {
                    if let Arg::Value(v) = arg {
                        needed[*v] = true;
                    }
                });
            }
        }
        self.nodes.retain(|n| needed[n.output]);
        let mut place = vec![None; self.parameters.len()];
        let mut kept = Vec::new();
        for arg in self.nodes.iter_mut().flat_map(|n| &mut n.inputs) {
            if let Arg::Parameter(p) = arg {
                let at = *place[*p].get_or_insert_with(|| {
                    kept.push(self.parameters[*p].clone());
                    kept.len() - 1
                });
                *p = at;
            }
        }
        self.parameters = kept;
    }
}
