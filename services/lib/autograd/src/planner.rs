//! Lays a graph out in time and memory: follows both passes as they will be run, and keeps book of which buffer holds
//! which value or gradient. At the end buffers that are never needed at once share a slot. Caller: `plan.rs`.

use crate::{
    graph::{Arg, Graph},
    needs::Needs,
    ops::Mode,
    plan::{Plan, Step},
    slots::{Buffer, settle, share},
};

/// The books.
pub struct Planner<'a> {
    graph: &'a Graph,
    /// What has been planned so far, with buffers for slots.
    plan: Plan,
    buffers: Vec<Buffer>,
    /// How many values or gradients lie in each buffer.
    holders: Vec<usize>,
    /// Where each value lies now.
    values: Vec<Option<usize>>,
    /// Where its gradient lies now.
    gradients: Vec<Option<usize>>,
    /// For each value whether a gradient has to reach it.
    learned: Vec<bool>,
    /// The last step of the forward pass that reads a value: the node.
    last_forward: Vec<usize>,
    /// What the backward pass reads, and what of it is computed again.
    needs: Needs,
}

impl<'a> Planner<'a> {
    /// At the beginning of a pass.
    pub fn new(graph: &'a Graph, training: bool) -> Self {
        let count = graph.values.len();
        let learned = if training { graph.learned() } else { vec![false; count] };
        let mut planner = Self {
            graph,
            plan: Plan::default(),
            buffers: Vec::new(),
            holders: Vec::new(),
            values: vec![None; count],
            gradients: vec![None; count],
            last_forward: vec![0; count],
            needs: Needs::of(graph, &learned),
            learned,
        };
        planner.find_readers();
        planner
    }

    fn find_readers(&mut self) {
        for (index, node) in self.graph.nodes.iter().enumerate() {
            for arg in &node.inputs {
                if let Arg::Value(v) = *arg {
                    self.last_forward[v] = index;
                }
            }
        }
        self.last_forward[self.graph.output] = usize::MAX;
    }

    /// Steps planned so far.
    fn now(&self) -> usize {
        self.plan.forward.len() + self.plan.backward.len()
    }

    fn take(&mut self, value: usize) -> usize {
        self.buffers.push(Buffer { size: self.graph.values[value], begin: self.now(), end: usize::MAX });
        self.holders.push(1);
        self.buffers.len() - 1
    }

    fn leave(&mut self, buffer: usize) {
        self.holders[buffer] -= 1;
        if self.holders[buffer] == 0 {
            self.buffers[buffer].end = self.now();
        }
    }

    /// The plan, with the slots that its buffers share.
    pub fn finish(mut self) -> Plan {
        let (places, slots) = share(&self.buffers);
        self.plan.forward.iter_mut().chain(&mut self.plan.backward).for_each(|step| settle(step, &places));
        for buffer in [&mut self.plan.input, &mut self.plan.output, &mut self.plan.gradient] {
            *buffer = places[*buffer];
        }
        Plan { slots, ..self.plan }
    }

    fn slots_of(&self, node: usize) -> Vec<Option<usize>> {
        let slot = |arg: &Arg| if let Arg::Value(v) = arg { self.values[*v] } else { None };
        self.graph.nodes[node].inputs.iter().map(slot).collect()
    }

    /// Plans the forward pass.
    pub fn forward(&mut self) {
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
        if self.last_forward[value] == node && !self.needs.kept(value) {
            self.drop_value(value);
        }
    }

    fn drop_value(&mut self, value: usize) {
        if let Some(slot) = self.values[value].take() {
            self.leave(slot);
        }
    }

    /// Plans the backward pass behind it.
    pub fn backward(&mut self) {
        let output = self.graph.output;
        // The output has been read by then.
        if self.needs.last[output].is_none() {
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
            if let Arg::Value(u) = *arg
                && node.op.reads_input(i)
            {
                self.have_again(u);
            }
        }
        if node.op.reads_output() {
            self.have_again(v);
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

    /// Computes a value again, and before it whatever is missing on the way to it.
    fn have_again(&mut self, value: usize) {
        let Some(node) = self.needs.again[value].filter(|_| self.values[value].is_none()) else { return };
        let read: Vec<usize> = self.graph.nodes[node]
            .inputs
            .iter()
            .filter_map(|a| if let Arg::Value(u) = *a { Some(u) } else { None })
            .collect();
        for u in &read {
            self.have_again(*u);
        }
        let inputs = self.slots_of(node);
        let output = self.take(value);
        self.values[value] = Some(output);
        self.plan.backward.push(Step::Forward { node, inputs, output, again: true });
        for u in read {
            // It was on the way only.
            if self.needs.last[u].is_none() {
                self.drop_value(u);
            }
        }
    }

    fn drop_after_backward(&mut self, index: usize) {
        for value in 0..self.values.len() {
            if self.needs.last[value] == Some(index) {
                self.drop_value(value);
            }
        }
    }
}
