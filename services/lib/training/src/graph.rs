//! Where a graph can be cut: the last linear layer, places at which one value holds everything, and models that end
//! earlier. Also the share that Dropout drops. Called by the steps of a run.

use std::collections::HashSet;

use onnx::{ModelProto, graph, proto::GraphProto, tensor};

use crate::TrainingError;

fn graph_of(model: &ModelProto) -> Result<&GraphProto, TrainingError> {
    model.graph.as_ref().ok_or_else(|| TrainingError::Model("it has no graph".into()))
}

fn is_constant(g: &GraphProto, name: &str) -> bool {
    name.is_empty() || graph::constant(g, name).is_some()
}

/// Operators that hand on the values they get.
const PASSING: [&str; 4] = ["Dropout", "Flatten", "Identity", "Reshape"];

/// What flows into the last linear layer (Gemm, MatMul with weights, or Conv): with the method `head` it is computed
/// once for each photo.
///
/// # Errors
/// A graph without such a layer, or with something beside it on the way to the output.
pub(crate) fn last_features(model: &ModelProto) -> Result<String, TrainingError> {
    let g = graph_of(model)?;
    let linear = |n: &&onnx::proto::NodeProto| {
        let weights = n.input.get(1).is_some_and(|w| is_constant(g, w));
        matches!(n.op_type(), "Gemm" | "MatMul" | "Conv") && weights
    };
    let last = g.node.iter().rfind(linear).and_then(|n| n.input.first());
    let mut value = last.ok_or_else(|| TrainingError::Model("it has no linear layer".into()))?.clone();
    // Dropout belongs to what is trained: it has to see every step anew. It may stand before a change of shape.
    let mut at = value.clone();
    while let Some(node) = graph::producer(g, &at).filter(|n| PASSING.contains(&n.op_type())) {
        at.clone_from(&node.input[0]);
        if node.op_type() == "Dropout" {
            value.clone_from(&at);
        }
    }
    match cuts(g).iter().any(|c| c.value == value) {
        true => Ok(value),
        false => Err(TrainingError::Model(format!("more than `{value}` flows into its last linear layer"))),
    }
}

/// A place where one value holds everything.
struct Cut {
    value: String,
    /// Number of the first node after it.
    next: usize,
}

/// All such places, from the input to the output. Nodes come in an order in which they can be run.
fn cuts(g: &GraphProto) -> Vec<Cut> {
    let last_use = |value: &str| {
        let output = g.output.iter().any(|o| o.name() == value);
        if output { Some(usize::MAX) } else { g.node.iter().rposition(|n| n.input.iter().any(|i| i == value)) }
    };
    let inputs = g.input.iter().map(|i| i.name()).filter(|i| !is_constant(g, i));
    let mut live: Vec<(String, usize)> = inputs.filter_map(|i| Some((i.to_owned(), last_use(i)?))).collect();
    let mut found = Vec::new();
    for (i, node) in g.node.iter().enumerate() {
        if node.op_type() == "Constant" {
            continue;
        }
        let outputs = node.output.iter().filter(|o| !o.is_empty());
        live.extend(outputs.filter_map(|o| Some((o.clone(), last_use(o)?))));
        live.retain(|(_, last)| *last > i);
        if let [(value, _)] = live.as_slice() {
            found.push(Cut { value: value.clone(), next: i + 1 });
        }
    }
    found
}

/// Output of the first node that learns when about the last `share` of the nodes does: right after the nearest cut.
///
/// # Errors
/// A graph that cannot be cut.
pub(crate) fn tail_from(model: &ModelProto, share: f32) -> Result<String, TrainingError> {
    let g = graph_of(model)?;
    let wanted = (g.node.len() as f32 * (1.0 - share)).round() as usize;
    let inside = cuts(g).into_iter().filter(|c| c.next < g.node.len());
    let nearest = inside.min_by_key(|c| c.next.abs_diff(wanted));
    let node = nearest.and_then(|c| g.node[c.next..].iter().find(|n| n.op_type() != "Constant"));
    let output = node.and_then(|n| n.output.first());
    output.cloned().ok_or_else(|| TrainingError::Model("it has no place at which one value holds everything".into()))
}

/// The same model ending at a value, without what it does not need.
///
/// # Errors
/// A model without a graph.
pub(crate) fn until(model: &ModelProto, value: &str) -> Result<ModelProto, TrainingError> {
    let mut model = model.clone();
    let Some(g) = &mut model.graph else { return Err(TrainingError::Model("it has no graph".into())) };
    let mut needed: HashSet<String> = HashSet::from([value.to_owned()]);
    let mut kept = vec![false; g.node.len()];
    for (i, node) in g.node.iter().enumerate().rev() {
        if node.output.iter().any(|o| needed.contains(o)) {
            kept[i] = true;
            needed.extend(node.input.iter().cloned());
        }
    }
    let mut keep = kept.into_iter();
    g.node.retain(|_| keep.next().unwrap_or(false));
    if let Some(output) = g.output.first_mut() {
        output.name = Some(value.to_owned());
        // Its shape is another one, and the engine finds it out.
        output.r#type = None;
    }
    g.output.truncate(1);
    // Some models list their initialisers among the inputs: one that goes must not stay as something to feed.
    g.input.retain(|i| g.initializer.iter().all(|t| t.name() != i.name()));
    graph::drop_unread_initialisers(g);
    Ok(model)
}

/// Sets the share that every Dropout node drops. `model` is a working copy: what is written in the end has its own.
pub(crate) fn set_dropout(model: &mut ModelProto, share: f32) {
    let Some(g) = &mut model.graph else { return };
    let nodes = g.node.iter().filter(|n| n.op_type() == "Dropout");
    let ratios: Vec<String> = nodes.filter_map(|n| n.input.get(1).cloned()).filter(|r| !r.is_empty()).collect();
    for t in g.initializer.iter_mut().filter(|t| ratios.iter().any(|r| r == t.name())) {
        let (name, dims) = (t.name().to_owned(), t.dims.clone());
        *t = tensor::f32_tensor(&name, &dims, &[share]);
    }
    for node in g.node.iter_mut().filter(|n| n.op_type() == "Dropout" && n.input.len() < 2) {
        node.attribute.retain(|a| a.name() != "ratio");
        node.attribute.push(graph::float("ratio", share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx::graph::{f32_value, node};

    /// A stem, a block with a way around it, Dropout and a linear layer with a norm behind it.
    fn model() -> ModelProto {
        let nodes = vec![
            node("Conv", &["x", "w0"], "stem"),
            node("Relu", &["stem"], "a"),
            node("Conv", &["a", "w1"], "b"),
            node("Add", &["a", "b"], "sum"),
            node("Flatten", &["sum"], "flat"),
            node("Dropout", &["flat", "ratio"], "dropped"),
            node("Gemm", &["dropped", "w2"], "line"),
            node("BatchNormalization", &["line", "s", "s", "s", "s"], "e"),
        ];
        let constant = |n: &str| tensor::f32_tensor(n, &[1], &[0.5]);
        let g = GraphProto {
            node: nodes,
            initializer: ["w0", "w1", "w2", "ratio", "s"].iter().map(|n| constant(n)).collect(),
            input: vec![f32_value("x", "N", &[1]), f32_value("w0", "N", &[1]), f32_value("w2", "N", &[1])],
            output: vec![f32_value("e", "N", &[1])],
            ..Default::default()
        };
        ModelProto { graph: Some(g), ..Default::default() }
    }

    #[test]
    fn features_lie_before_dropout_and_cuts_lie_around_the_block() {
        let m = model();
        assert_eq!(last_features(&m).unwrap(), "flat");
        let mut turned = model();
        let nodes = &mut turned.graph.as_mut().unwrap().node;
        (nodes[4].input[0], nodes[5].input[0]) = ("dropped".into(), "sum".into());
        nodes.swap(4, 5);
        nodes[6].input[0] = "flat".into();
        assert_eq!(last_features(&turned).unwrap(), "sum", "before Dropout, also where a change of shape is between");
        let values: Vec<String> = cuts(m.graph.as_ref().unwrap()).into_iter().map(|c| c.value).collect();
        assert_eq!(values, ["stem", "a", "sum", "flat", "dropped", "line", "e"], "b never holds everything");
        assert_eq!(tail_from(&m, 1.0).unwrap(), "a");
        assert_eq!(tail_from(&m, 0.25).unwrap(), "line");
        assert_eq!(tail_from(&m, 0.6).unwrap(), "b");
        assert!(tail_from(&ModelProto::default(), 0.5).is_err());
    }

    #[test]
    fn a_model_that_ends_earlier_holds_no_more_than_it_needs() {
        let short = until(&model(), "a").unwrap().graph.unwrap();
        let ops: Vec<String> = short.node.iter().map(|n| n.op_type().to_owned()).collect();
        assert_eq!(
            (ops, short.initializer.len(), short.output[0].name()),
            (vec!["Conv".to_owned(), "Relu".to_owned()], 1, "a")
        );
        let model = ModelProto { graph: Some(short), ..Default::default() };
        assert_eq!(onnx::inputs(&model).len(), 1, "weights that are listed as inputs do not have to be fed");
    }

    #[test]
    fn dropout_is_set_where_the_graph_says_it() {
        let mut m = model();
        set_dropout(&mut m, 0.1);
        assert_eq!(graph::constant_floats(m.graph.as_ref().unwrap(), "ratio"), Some(vec![0.1]));
        assert_eq!(graph::constant_floats(m.graph.as_ref().unwrap(), "s"), Some(vec![0.5]));
    }
}
