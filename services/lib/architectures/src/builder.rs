//! Layers that the networks are made of: nodes with their initialisers, appended to a graph.

use onnx::{
    ModelProto, graph,
    proto::{GraphProto, OperatorSetIdProto},
    tensor,
};

use crate::{SIDE, random::Random};

/// Operator set: the first that has Gelu.
const OPERATOR_SET: i64 = 20;
/// File format that goes with it.
const IR_VERSION: i64 = 9;

const INPUT: &str = "input";
const OUTPUT: &str = "embedding";

/// A graph in the making. Methods take the name of a value and give that of the next.
pub(crate) struct Builder {
    graph: GraphProto,
    random: Random,
    dropout: f32,
}

/// Shape of a convolution: square, the same padding on all sides, no bias.
#[derive(Clone, Copy)]
pub(crate) struct Conv {
    pub from: usize,
    pub to: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
}

/// How fresh weights are spread.
#[derive(Clone, Copy)]
pub(crate) enum Spread {
    /// Normal of this deviation.
    Normal(f32),
    /// Normal of deviation √(2 / (outputs × area)): keeps the size of gradients (He et al. 2015).
    FanOut,
    /// Uniform within ± 1 / √inputs.
    FanIn,
    /// Normal of this deviation, cut at two of it.
    Truncated(f32),
}

impl Builder {
    pub(crate) fn new(seed: u64, dropout: f32) -> Self {
        Self { graph: GraphProto::default(), random: Random::new(seed), dropout }
    }

    /// From 0..255 to −1..1.
    pub(crate) fn scaled_input(&mut self) -> String {
        let mean = self.constant("input.mean", &[], &[127.5]);
        let scale = self.constant("input.scale", &[], &[1.0 / 127.5]);
        let centred = self.node("Sub", &[INPUT, &mean], "input.centred");
        self.node("Mul", &[&centred, &scale], "input.scaled")
    }

    /// A node of one output.
    pub(crate) fn node(&mut self, op: &str, inputs: &[&str], output: &str) -> String {
        self.graph.node.push(graph::node(op, inputs, output));
        output.to_owned()
    }

    /// An attribute of the node that was added last.
    fn with(&mut self, attribute: onnx::proto::AttributeProto) {
        if let Some(node) = self.graph.node.last_mut() {
            node.attribute.push(attribute);
        }
    }

    pub(crate) fn constant(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
        self.graph.initializer.push(tensor::f32_tensor(name, &dims, values));
        name.to_owned()
    }

    fn integers(&mut self, name: &str, values: &[i64]) -> String {
        self.graph.initializer.push(tensor::i64_tensor(name, &[values.len() as i64], values));
        name.to_owned()
    }

    /// A random initialiser; `fans` are its inputs and outputs.
    pub(crate) fn weights(&mut self, name: &str, dims: &[usize], fans: (usize, usize), spread: Spread) -> String {
        let random = &mut self.random;
        let mut draw = || match spread {
            Spread::Normal(deviation) => random.normal(deviation),
            Spread::FanOut => random.normal((2.0 / fans.1 as f32).sqrt()),
            Spread::FanIn => random.uniform(1.0 / (fans.0 as f32).sqrt()),
            Spread::Truncated(deviation) => random.truncated(deviation),
        };
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| draw()).collect();
        self.constant(name, dims, &values)
    }

    pub(crate) fn conv(&mut self, x: &str, name: &str, c: Conv, spread: Spread) -> String {
        let (inputs, area) = (c.from / c.groups, c.kernel * c.kernel);
        let fans = (inputs * area, c.to * area / c.groups);
        let weights = self.weights(&format!("{name}.weight"), &[c.to, inputs, c.kernel, c.kernel], fans, spread);
        let y = self.node("Conv", &[x, &weights], name);
        let (kernel, stride, pad) = (c.kernel as i64, c.stride as i64, c.pad as i64);
        self.with(graph::ints("kernel_shape", &[kernel; 2]));
        self.with(graph::ints("strides", &[stride; 2]));
        self.with(graph::ints("pads", &[pad; 4]));
        self.with(graph::int("group", c.groups as i64));
        y
    }

    /// Of 4-D values by channel, or of 2-D values.
    pub(crate) fn batch_norm(&mut self, x: &str, name: &str, channels: usize) -> String {
        let part = |b: &mut Self, which: &str, value: f32| {
            b.constant(&format!("{name}.{which}"), &[channels], &vec![value; channels])
        };
        let scale = part(self, "weight", 1.0);
        let bias = part(self, "bias", 0.0);
        let mean = part(self, "running_mean", 0.0);
        let variance = part(self, "running_var", 1.0);
        let y = self.node("BatchNormalization", &[x, &scale, &bias, &mean, &variance], name);
        self.with(graph::float("epsilon", 1e-5));
        self.with(graph::float("momentum", 0.9));
        y
    }

    pub(crate) fn prelu(&mut self, x: &str, name: &str, channels: usize) -> String {
        let slope = self.constant(&format!("{name}.slope"), &[channels, 1, 1], &vec![0.25; channels]);
        self.node("PRelu", &[x, &slope], name)
    }

    pub(crate) fn add(&mut self, a: &str, b: &str, name: &str) -> String {
        self.node("Add", &[a, b], name)
    }

    pub(crate) fn flatten(&mut self, x: &str, name: &str) -> String {
        let y = self.node("Flatten", &[x], name);
        self.with(graph::int("axis", 1));
        y
    }

    /// Nothing where the share is 0.
    pub(crate) fn dropout(&mut self, x: &str) -> String {
        if self.dropout == 0.0 {
            return x.to_owned();
        }
        let ratio = self.constant("dropout.ratio", &[], &[self.dropout]);
        self.node("Dropout", &[x, &ratio], "dropout")
    }

    /// Of 2-D values, with a bias.
    pub(crate) fn linear(&mut self, x: &str, name: &str, (from, to): (usize, usize), spread: Spread) -> String {
        let weights = self.weights(&format!("{name}.weight"), &[to, from], (from, to), spread);
        let bias = self.constant(&format!("{name}.bias"), &[to], &vec![0.0; to]);
        let y = self.node("Gemm", &[x, &weights, &bias], name);
        self.with(graph::int("transB", 1));
        y
    }

    /// Of the last axis of values of any rank, with a bias.
    pub(crate) fn project(&mut self, x: &str, name: &str, (from, to): (usize, usize), spread: Spread) -> String {
        let weights = self.weights(&format!("{name}.weight"), &[from, to], (from, to), spread);
        let bias = self.constant(&format!("{name}.bias"), &[to], &vec![0.0; to]);
        let product = self.node("MatMul", &[x, &weights], &format!("{name}.product"));
        self.add(&product, &bias, name)
    }

    pub(crate) fn layer_norm(&mut self, x: &str, name: &str, width: usize) -> String {
        let scale = self.constant(&format!("{name}.weight"), &[width], &vec![1.0; width]);
        let bias = self.constant(&format!("{name}.bias"), &[width], &vec![0.0; width]);
        let y = self.node("LayerNormalization", &[x, &scale, &bias], name);
        self.with(graph::int("axis", -1));
        self.with(graph::float("epsilon", 1e-6));
        y
    }

    /// 0 keeps an axis as it is.
    pub(crate) fn reshape(&mut self, x: &str, name: &str, shape: &[i64]) -> String {
        let shape = self.integers(&format!("{name}.shape"), shape);
        self.node("Reshape", &[x, &shape], name)
    }

    pub(crate) fn transpose(&mut self, x: &str, name: &str, order: &[i64]) -> String {
        let y = self.node("Transpose", &[x], name);
        self.with(graph::ints("perm", order));
        y
    }

    pub(crate) fn softmax(&mut self, x: &str, name: &str) -> String {
        let y = self.node("Softmax", &[x], name);
        self.with(graph::int("axis", -1));
        y
    }

    /// Mean over one axis, which goes.
    pub(crate) fn mean(&mut self, x: &str, name: &str, axis: i64) -> String {
        let axes = self.integers(&format!("{name}.axes"), &[axis]);
        let y = self.node("ReduceMean", &[x, &axes], name);
        self.with(graph::int("keepdims", 0));
        y
    }

    /// The model whose output is this value.
    pub(crate) fn finish(mut self, name: &str, embedding: &str, dim: usize) -> ModelProto {
        if let Some(last) = self.graph.node.iter_mut().find(|n| n.output.iter().any(|o| o == embedding)) {
            last.output = vec![OUTPUT.to_owned()];
        }
        let side = SIDE as i64;
        self.graph.name = Some(name.to_owned());
        self.graph.input = vec![graph::f32_value(INPUT, "N", &[3, side, side])];
        self.graph.output = vec![graph::f32_value(OUTPUT, "N", &[dim as i64])];
        ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("visavis".to_owned()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPERATOR_SET) }],
            graph: Some(self.graph),
            ..Default::default()
        }
    }
}
