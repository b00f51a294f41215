//! When what is computed and where it lies. Memory is a set of slots that values and gradients take turns in: a value
//! leaves its slot after its last reader, one that is cheap to have again (`needs.rs`) leaves it after its last reader in
//! the forward pass and comes back for the backward pass. Caller: `execute.rs`, once for each kind of pass.

use crate::{
    graph::{Graph, Value},
    ops::Mode,
    planner::Planner,
};

/// What is done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node's forward pass; `again` where it was done before.
    Forward {
        /// The node.
        node: usize,
        /// The slots of its inputs, where they are values.
        inputs: Vec<Option<usize>>,
        /// The slot of its output.
        output: usize,
        /// It was computed before in this pass.
        again: bool,
    },
    /// A node's backward pass.
    Backward {
        /// The node.
        node: usize,
        /// The slots of its inputs that are still there.
        inputs: Vec<Option<usize>>,
        /// The slot of its output, if that is still there.
        output: Option<usize>,
        /// The slot of its output's gradient.
        gradient: usize,
        /// The slots of its inputs' gradients; parameters have none.
        targets: Vec<Option<(usize, Mode)>>,
    },
    /// Adds up (or copies) gradients of a value that lie in two slots.
    Join {
        /// The value.
        value: usize,
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Adds.
        add: bool,
    },
}

/// The steps of a pass, and the sizes of the slots.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The forward pass.
    pub forward: Vec<Step>,
    /// The backward pass.
    pub backward: Vec<Step>,
    /// The slot that the input is written to.
    pub input: usize,
    /// The slot that the output is read from, and its gradient written to.
    pub output: usize,
    /// The slot of the output's gradient.
    pub gradient: usize,
    /// For each slot how many numbers it holds for each sample, and altogether.
    pub slots: Vec<Value>,
}

impl Plan {
    /// For evaluation: nothing is kept longer than the forward pass needs it.
    pub fn evaluation(graph: &Graph) -> Self {
        let mut planner = Planner::new(graph, false);
        planner.forward();
        planner.finish()
    }

    /// For training.
    pub fn training(graph: &Graph) -> Self {
        let mut planner = Planner::new(graph, true);
        planner.forward();
        planner.backward();
        planner.finish()
    }

    /// Numbers in all slots for `n` samples.
    pub fn numbers(&self, n: usize) -> usize {
        self.slots.iter().map(|s| s.total(n)).sum()
    }
}
