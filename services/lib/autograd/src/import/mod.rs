//! From an ONNX graph to the engine's: node by node, with sizes worked out on the way, pairs of nodes joined where one
//! pass over memory does for both, and everything that cannot be trained refused by name. Caller: `network.rs`.

mod arithmetic;
mod conv;
mod dense;
mod layout;
mod norm;
mod shapes;
mod sizes;
mod tensors;

use std::collections::{HashMap, HashSet};

use onnx::{
    ModelProto, graph as lookup,
    proto::{GraphProto, NodeProto, TensorProto},
};

use crate::{
    Error, InputShape, Options, Trainable,
    graph::{Arg, Graph, Value},
    kernels::Unary,
    ops::{Function, Op},
};
use sizes::Size;
use tensors::Tensor;

/// What callers have to know of the graph beside its nodes.
pub struct Names {
    /// What one sample is.
    pub input: InputShape,
}

/// What a name in the ONNX graph stands for.
#[derive(Clone, Debug)]
enum Bound {
    /// A tensor of the engine.
    Tensor(Tensor),
    /// Whole numbers: sizes, places, axes.
    Sizes(Vec<Size>),
}

/// The graph as far as it has been read.
struct Builder<'m> {
    graph: Graph,
    nodes: &'m [NodeProto],
    constants: HashMap<&'m str, &'m TensorProto>,
    bound: HashMap<String, Bound>,
    /// Which nodes read a name.
    readers: HashMap<&'m str, Vec<usize>>,
    /// Names that must keep a value of their own: outputs, and where a caller wants to begin.
    kept: HashSet<String>,
    /// Trained tensors by name.
    parameters: HashMap<String, usize>,
    /// Values that any weight of the model went into, trained or not.
    weighed: HashSet<usize>,
    /// Nodes that were joined to one before them.
    joined: HashSet<usize>,
    /// The first node whose weights are trained.
    first_trained: usize,
    /// The node that is being read.
    index: usize,
    operator_set: i64,
    options: &'m Options,
}

/// Reads a model, or the part of it behind a value.
pub fn import(model: &ModelProto, from: Option<&str>, options: &Options) -> Result<(Graph, Names), Error> {
    let source = model.graph.as_ref().ok_or_else(|| Error::Graph("there is no graph in the model".into()))?;
    let mut builder = Builder::new(model, source, from, options)?;
    let input = builder.feed(model)?;
    for index in 0..source.node.len() {
        builder.index = index;
        if !builder.joined.contains(&index) {
            builder.node(&source.node[index])?;
        }
    }
    let name = source.output.first().map(|o| o.name()).unwrap_or_default();
    let output = match builder.bound.get(name) {
        Some(Bound::Tensor(t)) if t.batched => t.clone(),
        _ => return Err(Error::Graph("its first output is not one vector for each sample".into())),
    };
    let output = builder.plain(&output);
    let Arg::Value(output) = output.arg else { return Err(Error::Graph("its output is a constant".into())) };
    builder.graph.output = output;
    let input = match from {
        Some(name) => builder.begin_at(name)?,
        None => input,
    };
    builder.graph.prune();
    builder.check()?;
    Ok((builder.graph, Names { input }))
}

impl<'m> Builder<'m> {
    fn new(
        model: &ModelProto,
        source: &'m GraphProto,
        from: Option<&str>,
        options: &'m Options,
    ) -> Result<Self, Error> {
        let mut constants: HashMap<&str, &TensorProto> = source.initializer.iter().map(|t| (t.name(), t)).collect();
        for node in source.node.iter().filter(|n| n.op_type() == "Constant") {
            if let (Some(name), Some(tensor)) =
                (node.output.first(), lookup::attribute(node, "value").and_then(|a| a.t.as_ref()))
            {
                constants.insert(name, tensor);
            }
        }
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in source.node.iter().enumerate() {
            node.input.iter().for_each(|name| readers.entry(name).or_default().push(index));
        }
        let first_trained = match &options.trainable {
            Trainable::All => 0,
            Trainable::From(name) => source
                .node
                .iter()
                .position(|n| n.output.iter().any(|o| o == name))
                .ok_or_else(|| Error::NoSuchValue(name.clone()))?,
        };
        let outputs = source.output.iter().map(|o| o.name());
        Ok(Self {
            graph: Graph::default(),
            nodes: &source.node,
            constants,
            bound: HashMap::new(),
            readers,
            kept: outputs.chain(from).map(Into::into).collect(),
            parameters: HashMap::new(),
            weighed: HashSet::new(),
            joined: HashSet::new(),
            first_trained,
            index: 0,
            operator_set: lookup::operator_set(model),
            options,
        })
    }

    /// Binds the graph's input.
    fn feed(&mut self, model: &ModelProto) -> Result<InputShape, Error> {
        let inputs = onnx::inputs(model);
        let [input] = inputs.as_slice() else {
            return Err(Error::Graph(format!("it has {} inputs and not one", inputs.len())));
        };
        let fixed = |d: &onnx::Dim| match d {
            onnx::Dim::Fixed(n) => usize::try_from(*n).ok().filter(|n| *n > 0),
            onnx::Dim::Symbolic(_) => None,
        };
        let dims: Option<Vec<usize>> = input.dims.iter().skip(1).map(fixed).collect();
        let dims = dims.filter(|d| !d.is_empty()).ok_or_else(|| {
            Error::Graph(format!("the sizes of its input `{}` are not fixed beside the batch", input.name))
        })?;
        let value = self.value(dims.iter().product(), true);
        self.graph.input = value;
        let tensor = Tensor { arg: Arg::Value(value), channels_last: dims.len() == 3, dims, batched: true };
        let shape = tensor.input_shape();
        self.bound.insert(input.name.clone(), Bound::Tensor(tensor));
        Ok(shape)
    }

    /// Makes a value inside the graph its input.
    fn begin_at(&mut self, name: &str) -> Result<InputShape, Error> {
        let (value, shape) = match self.bound.get(name) {
            Some(Bound::Tensor(t)) if t.batched => match t.arg {
                Arg::Value(value) => (value, t.input_shape()),
                _ => return Err(Error::NoSuchValue(name.into())),
            },
            _ => return Err(Error::NoSuchValue(name.into())),
        };
        self.graph.nodes.retain(|n| n.output != value);
        let before = std::mem::replace(&mut self.graph.input, value);
        self.graph.prune();
        let reads = |arg: &Arg| *arg == Arg::Value(before);
        if before != value && self.graph.nodes.iter().any(|n| n.inputs.iter().any(reads)) {
            return Err(Error::Graph(format!("its output does not depend on `{name}` alone")));
        }
        Ok(shape)
    }

    /// A new value.
    fn value(&mut self, len: usize, batched: bool) -> usize {
        self.graph.values.push(Value { len, batched });
        self.graph.values.len() - 1
    }

    /// A new node; gives what it makes.
    fn emit(&mut self, op: impl Op + 'static, mut inputs: Vec<Arg>, len: usize, batched: bool) -> Arg {
        // Gradients of one value cannot go to one place twice at once.
        for i in 1..inputs.len() {
            if !op.passes() && !matches!(inputs[i], Arg::Constant(_)) && inputs[..i].contains(&inputs[i]) {
                let (len, batched) = match inputs[i] {
                    Arg::Value(v) => (self.graph.values[v].len, self.graph.values[v].batched),
                    Arg::Parameter(p) => (self.graph.parameters[p].value.len(), false),
                    Arg::Constant(c) => (self.graph.constants[c].len(), false),
                };
                inputs[i] = self.emit(Function(Unary::Line(1.0, 0.0)), vec![inputs[i]], len, batched);
            }
        }
        let output = self.value(len, batched);
        let weighed = |arg: &Arg| match arg {
            Arg::Value(v) => self.weighed.contains(v),
            Arg::Parameter(_) => true,
            Arg::Constant(_) => false,
        };
        if inputs.iter().any(weighed) {
            self.weighed.insert(output);
        }
        self.graph.nodes.push(crate::graph::Node { op: Box::new(op), inputs, output });
        Arg::Value(output)
    }

    fn node(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let standard = matches!(node.domain(), "" | "ai.onnx");
        match node.op_type() {
            _ if !standard => Err(unknown(node)),
            "Conv" => self.conv(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "ReduceMean" => self.mean(node),
            "BatchNormalization" => self.batch_norm(node),
            "PRelu" | "Relu" | "LeakyRelu" => self.activation(node),
            "LayerNormalization" => self.layer_norm(node),
            "Softmax" => self.softmax(node),
            "Gemm" => self.gemm(node),
            "MatMul" => self.matmul(node),
            "Sigmoid" | "Tanh" | "Exp" | "Gelu" | "Erf" | "Sqrt" | "Reciprocal" | "Neg" => self.function(node),
            "Add" | "Sub" | "Mul" | "Div" if self.sizes_of(node).is_some() => self.size_arithmetic(node),
            "Add" | "Sub" | "Mul" | "Div" => self.arithmetic(node),
            "Pow" => self.power(node),
            "Dropout" => self.dropout(node),
            "Identity" => self.same(node),
            "Cast" => self.cast(node),
            "Constant" => self.constant(node),
            "Shape" => self.shape(node),
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.reshape(node),
            "Transpose" => self.transpose(node),
            "Concat" => self.concat(node),
            "Slice" | "Gather" => self.take(node),
            "Split" => self.split(node),
            "Expand" => self.expand(node),
            _ => Err(unknown(node)),
        }
    }

    /// Refuses a graph in which nothing is trained, or where what is left cannot be run.
    fn check(&self) -> Result<(), Error> {
        if self.graph.parameters.is_empty() {
            return Err(Error::Graph("nothing in it is trained".into()));
        }
        let learned = self.graph.learned();
        if !learned[self.graph.output] {
            return Err(Error::Graph("its output does not depend on what is trained".into()));
        }
        Ok(())
    }

    /// Binds the node's output.
    fn bind(&mut self, node: &NodeProto, tensor: Tensor) {
        if let Some(name) = node.output.first() {
            self.bound.insert(name.clone(), Bound::Tensor(tensor));
        }
    }

    /// The one node that reads this node's output, where it needs no value of its own and the reader is one of `ops`.
    fn follower(&self, node: &NodeProto, ops: &[&str]) -> Option<usize> {
        let name = node.output.first()?;
        match self.readers.get(name.as_str()).map(Vec::as_slice) {
            Some([reader]) if !self.kept.contains(name) && ops.contains(&self.nodes[*reader].op_type()) => {
                Some(*reader)
            }
            _ => None,
        }
    }
}

/// The node's name, or its first output where it has none.
fn label(node: &NodeProto) -> String {
    let output = || node.output.first().cloned().unwrap_or_default();
    if node.name().is_empty() { output() } else { node.name().into() }
}

fn unknown(node: &NodeProto) -> Error {
    Error::UnknownOperator { op: node.op_type().into(), node: label(node) }
}

fn unsupported(node: &NodeProto, why: impl Into<String>) -> Error {
    Error::Unsupported { op: node.op_type().into(), node: label(node), why: why.into() }
}
