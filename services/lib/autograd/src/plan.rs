//! When what is computed and where it lies. Memory is a set of slots that values and gradients take turns in: a value
//! leaves its slot after its last reader, one that is cheap to have again leaves it after its last reader in the
//! forward pass and comes back for the backward pass. Caller: `execute.rs`, once for each kind of pass.

use crate::{
    graph::{Arg, Graph, Value},
    ops::Mode,
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
        planner.plan
    }

    /// For training.
    pub fn training(graph: &Graph) -> Self {
        let mut planner = Planner::new(graph, true);
        planner.forward();
        planner.backward();
        planner.plan
    }

    /// Numbers in all slots for `n` samples.
    pub fn numbers(&self, n: usize) -> usize {
        self.slots.iter().map(|s| s.total(n)).sum()
    }
}

struct Planner<'a> {
    graph: &'a Graph,
    plan: Plan,
    free: Vec<usize>,
    /// How many values or gradients lie in each slot.
    holders: Vec<usize>,
    /// Where each value lies now.
    values: Vec<Option<usize>>,
    /// Where its gradient lies now.
    gradients: Vec<Option<usize>>,
    /// For each value whether a gradient has to reach it.
    learned: Vec<bool>,
    /// The last step of the forward pass that reads a value: the node.
    last_forward: Vec<usize>,
    /// The node whose backward pass is the last to read a value; none where none does.
    last_backward: Vec<Option<usize>>,
    /// The node that computes a value again for the backward pass.
    again: Vec<Option<usize>>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, training: bool) -> Self {
        let count = graph.values.len();
        let learned = if training { graph.learned() } else { vec![false; count] };
        let mut planner = Self {
            graph,
            plan: Plan::default(),
            free: Vec::new(),
            holders: Vec::new(),
            values: vec![None; count],
            gradients: vec![None; count],
            last_forward: vec![0; count],
            last_backward: vec![None; count],
            again: vec![None; count],
            learned,
        };
        planner.find_readers();
        planner.find_cheap();
        planner
    }

    fn find_readers(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            for (i, arg) in node.inputs.iter().enumerate() {
                let Arg::Value(v) = *arg else { continue };
                self.last_forward[v] = index;
                // Nodes are walked through forwards: the first one's backward pass comes last.
                if self.learned[node.output] && node.op.reads_input(i) && !node.op.passes() {
                    self.last_backward[v].get_or_insert(index);
                }
            }
        }
        self.last_forward[self.graph.output] = usize::MAX;
    }

    /// Finds values to compute again, and what has to be kept for that or is read as an output.
    fn find_cheap(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            let v = node.output;
            if self.learned[v] && node.op.reads_output() {
                self.last_backward[v] = Some(index);
                continue;
            }
            let Some(Arg::Value(from)) = node.inputs.first().copied() else { continue };
            let kept = self.last_backward[from].is_some() && self.again[from].is_none();
            let others = node.inputs[1..].iter().any(|arg| matches!(arg, Arg::Value(_)));
            if node.op.cheap() && self.last_backward[v].is_some() && kept && !others && v != self.graph.output {
                self.again[v] = Some(index);
            }
        }
    }

    fn take(&mut self, value: usize) -> usize {
        let wanted = self.graph.values[value];
        let fits = |slot: &usize| self.plan.slots[*slot].batched == wanted.batched;
        let size = |slot: usize| self.plan.slots[slot].len;
        let large = self.free.iter().copied().filter(fits).filter(|s| size(*s) >= wanted.len).min_by_key(|s| size(*s));
        let slot = large.or_else(|| self.free.iter().copied().filter(fits).max_by_key(|s| size(*s)));
        let slot = slot.unwrap_or_else(|| {
            self.plan.slots.push(wanted);
            self.holders.push(0);
            self.plan.slots.len() - 1
        });
        self.free.retain(|s| *s != slot);
        self.plan.slots[slot].len = self.plan.slots[slot].len.max(wanted.len);
        self.holders[slot] = 1;
        slot
    }

    fn leave(&mut self, slot: usize) {
        self.holders[slot] -= 1;
        if self.holders[slot] == 0 {
            self.free.push(slot);
        }
    }

    fn slots_of(&self, node: usize) -> Vec<Option<usize>> {
        let slot = |arg: &Arg| if let Arg::Value(v) = arg { self.values[*v] } else { None };
        self.graph.nodes[node].inputs.iter().map(slot).collect()
    }

    fn forward(&mut self) {
        self.plan.input = self.take(self.graph.input);
        self.values[self.graph.input] = Some(self.plan.input);
        for node in 0..self.graph.nodes.len() {
            let v = self.graph.nodes[node].output;
            let output = self.take(v);
            let inputs = self.slots_of(node);
            self.plan.forward.push(Step::Forward { node, inputs, output, again: false });
            self.values[v] = Some(output);
            for arg in &self.graph.nodes[node].inputs {
                if let Arg::Value(u) = *arg {
                    self.drop_after_forward(u, node);
                }
            }
        }
        self.plan.output = self.values[self.graph.output].unwrap_or_default();
    }

    fn drop_after_forward(&mut self, value: usize, node: usize) {
        let kept = self.last_backward[value].is_some() && self.again[value].is_none();
        if self.last_forward[value] == node && !kept {
            self.drop_value(value);
        }
    }

    fn drop_value(&mut self, value: usize) {
        if let Some(slot) = self.values[value].take() {
            self.leave(slot);
        }
    }

    fn backward(&mut self) {
        let output = self.graph.output;
        // The output has been read by then.
        if self.last_backward[output].is_none() {
            self.drop_value(output);
        }
        self.plan.gradient = self.take(output);
        self.gradients[output] = Some(self.plan.gradient);
        for index in (0..self.graph.nodes.len()).rev() {
            let v = self.graph.nodes[index].output;
            if self.learned[v] && self.gradients[v].is_some() {
                self.backward_of(index);
            }
            self.drop_after_backward(index);
        }
    }

    fn backward_of(&mut self, index: usize) {
        let node = &self.graph.nodes[index];
        let v = node.output;
        let Some(gradient) = self.gradients[v].take() else { return };
        if node.op.passes() {
            for arg in &node.inputs {
                if let Arg::Value(u) = *arg {
                    self.pass_on(u, gradient);
                }
            }
            if node.inputs.iter().all(|a| matches!(a, Arg::Value(_))) {
                self.leave(gradient);
                return;
            }
        }
        for (i, arg) in node.inputs.iter().enumerate() {
            if let Arg::Value(u) = *arg {
                self.have_again(u, node.op.reads_input(i));
            }
        }
        let inputs = self.slots_of(index);
        let output = self.values[v];
        let mut taken = false;
        let mut targets = Vec::with_capacity(node.inputs.len());
        for (i, arg) in node.inputs.iter().enumerate() {
            let target = match *arg {
                Arg::Value(u) if self.learned[u] && !node.op.passes() => {
                    let may = i == 0 && node.op.in_place() && self.holders[gradient] == 1;
                    let target = self.target(u, gradient, may);
                    taken |= target.1 == Mode::InPlace;
                    Some(target)
                }
                _ => None,
            };
            targets.push(target);
        }
        self.plan.backward.push(Step::Backward { node: index, inputs, output, gradient, targets });
        if !taken {
            self.leave(gradient);
        }
    }

    /// The gradient of an output becomes (part of) that of an input as it is.
    fn pass_on(&mut self, value: usize, gradient: usize) {
        if !self.learned[value] {
            return;
        }
        if self.gradients[value].is_some() {
            let (to, _) = self.target(value, gradient, false);
            self.plan.backward.push(Step::Join { value, from: gradient, to, add: true });
        } else {
            self.gradients[value] = Some(gradient);
            self.holders[gradient] += 1;
        }
    }

    /// Where the gradient of a value goes, and how.
    fn target(&mut self, value: usize, gradient: usize, may_take: bool) -> (usize, Mode) {
        match self.gradients[value] {
            None if may_take => {
                self.gradients[value] = Some(gradient);
                (gradient, Mode::InPlace)
            }
            None => {
                let slot = self.take(value);
                self.gradients[value] = Some(slot);
                (slot, Mode::Write)
            }
            // Somebody else still reads what lies there.
            Some(slot) if self.holders[slot] > 1 => {
                let own = self.take(value);
                self.plan.backward.push(Step::Join { value, from: slot, to: own, add: false });
                self.leave(slot);
                self.gradients[value] = Some(own);
                (own, Mode::Add)
            }
            Some(slot) => (slot, Mode::Add),
        }
    }

    fn have_again(&mut self, value: usize, read: bool) {
        let Some(node) = self.again[value].filter(|_| read && self.values[value].is_none()) else { return };
        let inputs = self.slots_of(node);
        let output = self.take(value);
        self.values[value] = Some(output);
        self.plan.backward.push(Step::Forward { node, inputs, output, again: true });
    }

    fn drop_after_backward(&mut self, index: usize) {
        for value in 0..self.values.len() {
            if self.last_backward[value] == Some(index) {
                self.drop_value(value);
            }
        }
    }
}
