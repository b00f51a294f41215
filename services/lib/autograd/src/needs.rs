//! What the backward pass reads of the forward pass, and which of that is computed again for it instead of being kept: what
//! follows cheaply from values that are kept in any case, be it over several nodes, as the weights of an attention do
//! from queries and keys. Caller: `planner.rs`.

use crate::graph::{Arg, Graph, Node};

/// The answer for every value.
pub struct Needs {
    /// The node behind whose backward pass nothing reads the value any more; none where the backward pass never does.
    pub last: Vec<Option<usize>>,
    /// The node that computes the value again when it is next read; none for one that is kept, or was never made.
    pub again: Vec<Option<usize>>,
}

impl Needs {
    /// Of a graph in which gradients have to reach the values in `learned`.
    pub fn of(graph: &Graph, learned: &[bool]) -> Self {
        let count = graph.values.len();
        let mut needs = Self { last: vec![None; count], again: vec![None; count] };
        for (index, node) in graph.nodes.iter().enumerate() {
            for (i, u) in values(node) {
                // Nodes are walked through forwards: the first one's backward pass comes last.
                if learned[node.output] && node.op.reads_input(i) && !node.op.passes() {
                    needs.last[u].get_or_insert(index);
                }
            }
            if learned[node.output] && node.op.reads_output() {
                needs.last[node.output] = Some(index);
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            let had = |u: usize| needs.last[u].is_some() || needs.again[u].is_some();
            if node.op.cheap() && node.output != graph.output && values(node).all(|(_, u)| had(u)) {
                needs.again[node.output] = Some(index);
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            if needs.recomputed(node.output) {
                needs.hold_sources(graph, index, index);
            }
        }
        needs
    }

    /// Kept from the forward pass until the backward pass reads it.
    pub fn kept(&self, value: usize) -> bool {
        self.last[value].is_some() && self.again[value].is_none()
    }

    /// Read by the backward pass, and computed again for that.
    fn recomputed(&self, value: usize) -> bool {
        self.last[value].is_some() && self.again[value].is_some()
    }

    /// What a node's output comes from stays until the backward pass of `until`, before which it is computed again.
    fn hold_sources(&mut self, graph: &Graph, node: usize, until: usize) {
        for (_, u) in values(&graph.nodes[node]) {
            match (self.last[u], self.again[u]) {
                (Some(last), _) => self.last[u] = Some(last.min(until)),
                // On the way only: made again from what it comes from itself.
                (None, Some(from)) => self.hold_sources(graph, from, until),
                (None, None) => {}
            }
        }
    }
}

/// The inputs of a node that are values, with their places.
fn values(node: &Node) -> impl Iterator<Item = (usize, usize)> {
    let value = |(i, arg): (usize, &Arg)| if let Arg::Value(v) = *arg { Some((i, v)) } else { None };
    node.inputs.iter().enumerate().filter_map(value)
}
