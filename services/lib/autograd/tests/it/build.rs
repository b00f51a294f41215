//! Small ONNX graphs with random weights, for the tests of this folder.

use onnx::{
    ModelProto, graph,
    proto::{
        AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
        attribute_proto::AttributeType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension::Value,
        type_proto,
    },
    tensor::{f32_tensor, i64_tensor},
};

/// Random numbers that are the same every time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// Between -1 and 1.
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub fn list(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// A graph in the making: nodes are added one behind the other, each named after what it makes.
pub struct Net {
    graph: GraphProto,
    random: Random,
    operator_set: i64,
}

impl Net {
    /// With one input `x` of these sizes behind the samples'.
    pub fn new(dims: &[i64]) -> Self {
        let graph = GraphProto { input: vec![described("x", dims)], ..Default::default() };
        Self { graph, random: Random::new(7), operator_set: 20 }
    }

    pub fn operator_set(mut self, version: i64) -> Self {
        self.operator_set = version;
        self
    }

    /// A weight with values between `-size` and `size` about `middle`; gives its name.
    pub fn weight(&mut self, name: &str, dims: &[i64], (middle, size): (f32, f32)) -> String {
        let len = dims.iter().product::<i64>() as usize;
        let values: Vec<f32> = (0..len).map(|_| middle + size * self.random.next()).collect();
        self.graph.initializer.push(f32_tensor(name, dims, &values));
        name.into()
    }

    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.graph.initializer.push(f32_tensor(name, &[1], &[value]));
        name.into()
    }

    pub fn ints(&mut self, name: &str, values: &[i64]) -> String {
        self.graph.initializer.push(i64_tensor(name, &[values.len() as i64], values));
        name.into()
    }

    /// A node with one output, which it is named after.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> String {
        let mut node = graph::node(op, inputs, output);
        node.attribute = attributes;
        self.graph.node.push(node);
        output.into()
    }

    pub fn push(&mut self, node: NodeProto) {
        self.graph.node.push(node);
    }

    /// `out` channels from `depth` channels of a group, `kernel` wide, behind it everything else by attribute.
    pub fn conv(&mut self, x: &str, output: &str, dims: [i64; 3], (stride, pad, groups): (i64, i64, i64)) -> String {
        let [out, depth, kernel] = dims;
        let size = (2.0 / (depth * kernel * kernel) as f32).sqrt();
        let weight = self.weight(&format!("{output}_w"), &[out, depth, kernel, kernel], (0.0, size));
        let attributes =
            vec![graph::ints("strides", &[stride; 2]), graph::ints("pads", &[pad; 4]), graph::int("group", groups)];
        self.node("Conv", &[x, &weight], output, attributes)
    }

    pub fn batch_norm(&mut self, x: &str, output: &str, channels: i64) -> String {
        let scale = self.weight(&format!("{output}_scale"), &[channels], (1.0, 0.3));
        let shift = self.weight(&format!("{output}_shift"), &[channels], (0.0, 0.3));
        let mean = self.weight(&format!("{output}_mean"), &[channels], (0.0, 0.3));
        let variance = self.weight(&format!("{output}_var"), &[channels], (1.0, 0.4));
        self.node("BatchNormalization", &[x, &scale, &shift, &mean, &variance], output, vec![float("epsilon", 1e-3)])
    }

    pub fn prelu(&mut self, x: &str, output: &str, channels: i64) -> String {
        let slope = self.weight(&format!("{output}_slope"), &[channels, 1, 1], (0.25, 0.2));
        self.node("PRelu", &[x, &slope], output, vec![])
    }

    pub fn gemm(&mut self, x: &str, output: &str, (inputs, outputs): (i64, i64)) -> String {
        let size = (3.0 / inputs as f32).sqrt();
        let weight = self.weight(&format!("{output}_w"), &[outputs, inputs], (0.0, size));
        let bias = self.weight(&format!("{output}_b"), &[outputs], (0.0, 0.2));
        self.node("Gemm", &[x, &weight, &bias], output, vec![graph::int("transB", 1)])
    }

    /// `x · W + b` as exporters write it for sequences.
    pub fn dense(&mut self, x: &str, output: &str, (inputs, outputs): (i64, i64)) -> String {
        let size = (3.0 / inputs as f32).sqrt();
        let weight = self.weight(&format!("{output}_w"), &[inputs, outputs], (0.0, size));
        let bias = self.weight(&format!("{output}_b"), &[outputs], (0.0, 0.2));
        let product = self.node("MatMul", &[x, &weight], &format!("{output}_product"), vec![]);
        self.node("Add", &[&product, &bias], output, vec![])
    }

    pub fn layer_norm(&mut self, x: &str, output: &str, len: i64) -> String {
        let scale = self.weight(&format!("{output}_scale"), &[len], (1.0, 0.3));
        let shift = self.weight(&format!("{output}_shift"), &[len], (0.0, 0.3));
        self.node(
            "LayerNormalization",
            &[x, &scale, &shift],
            output,
            vec![graph::int("axis", -1), float("epsilon", 1e-5)],
        )
    }

    /// The model, whose output is this value.
    pub fn finish(mut self, output: &str) -> ModelProto {
        self.graph.output = vec![described(output, &[])];
        ModelProto {
            ir_version: Some(9),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(self.operator_set) }],
            ..Default::default()
        }
    }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        f: Some(value),
        r#type: Some(AttributeType::Float.into()),
        ..Default::default()
    }
}

fn described(name: &str, dims: &[i64]) -> ValueInfoProto {
    let fixed = |d: &i64| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() };
    let batch = Dimension { value: Some(Value::DimParam("N".into())), ..Default::default() };
    let dim = std::iter::once(batch).chain(dims.iter().map(fixed)).collect();
    let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: Some(name.into()), r#type, ..Default::default() }
}
