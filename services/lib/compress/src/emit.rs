//! Writes the quantised graph after a plan. Around each product stand DequantizeLinear nodes on its factors and a
//! QuantizeLinear on its result, which ONNX Runtime fuses into one integer kernel. Called by the quantiser.
//!
//! A PRelu of slope at most 1 is the larger of `x` and `slope · x`: both are made as 8-bit values in the same steps,
//! the second by a 1×1 depthwise convolution, and compared as they are. No float in between.

use std::collections::{BTreeMap, HashMap, HashSet};

use onnx::{
    graph::{constant, drop_unread_initialisers, fresh_name, int, ints, node},
    proto::{AttributeProto, GraphProto, NodeProto, TensorProto, tensor_proto::DataType},
    tensor::{f32_data, f32_tensor, i8_tensor, i32_tensor, raw_tensor},
};

use crate::{
    CompressError, Range, Ranges,
    plan::{Activation, Plan, Role},
    weights,
};

/// A value in 8 bits: names of the value, its scale and its zero point, and what they are.
#[derive(Clone)]
struct Narrow {
    value: String,
    scale: String,
    zero: String,
    range: Range,
}

/// Constants of a product.
struct Product<'a> {
    dims: &'a [i64],
    weights: &'a [f32],
    bias: Vec<f32>,
    attributes: Vec<AttributeProto>,
}

/// The graph with the nodes of the plan replaced.
pub(crate) fn emit(graph: GraphProto, plan: &Plan, ranges: &Ranges) -> Result<GraphProto, CompressError> {
    let outputs: Vec<String> = graph.output.iter().map(|o| o.name().to_owned()).collect();
    let mut e = Emitter { ranges: &ranges.0, narrow: HashMap::new(), wide: HashSet::new(), nodes: Vec::new(), graph };
    e.wide.extend(e.graph.input.iter().chain(&e.graph.output).map(|v| v.name().to_owned()));
    for output in &outputs {
        e.wide.remove(output);
    }
    let old = std::mem::take(&mut e.graph.node);
    for (i, n) in old.iter().enumerate() {
        match plan.roles.get(i).unwrap_or(&Role::Float) {
            Role::Absorbed => {}
            Role::Float => e.float(n),
            Role::Transparent => e.transparent(n),
            Role::ToFloat => e.widening(n)?,
            Role::Product(activation) => {
                let result = match activation {
                    Activation::None => n.output[0].clone(),
                    _ => absorbed_output(&old, &n.output[0]),
                };
                e.product(n, activation, &result)?;
            }
        }
    }
    for output in &outputs {
        e.as_float(output);
    }
    e.graph.node = e.nodes;
    e.graph.value_info.clear();
    drop_unread_initialisers(&mut e.graph);
    Ok(e.graph)
}

/// What the activation that reads `value` makes.
fn absorbed_output(nodes: &[NodeProto], value: &str) -> String {
    let reader = nodes.iter().find(|n| n.input.first().is_some_and(|i| i == value));
    reader.and_then(|n| n.output.first()).cloned().unwrap_or_default()
}

struct Emitter<'a> {
    /// The old graph's constants and interface; new constants are added.
    graph: GraphProto,
    ranges: &'a BTreeMap<String, Range>,
    /// By the name in the float graph.
    narrow: HashMap<String, Narrow>,
    /// Values that are there as floats.
    wide: HashSet<String>,
    nodes: Vec<NodeProto>,
}

impl Emitter<'_> {
    fn float(&mut self, n: &NodeProto) {
        for input in &n.input {
            self.as_float(input);
        }
        self.wide.extend(n.output.iter().cloned());
        self.nodes.push(n.clone());
    }

    fn transparent(&mut self, n: &NodeProto) {
        let Some(from) = self.narrow.get(&n.input[0]).cloned() else { return self.float(n) };
        let to = Narrow { value: self.name(&n.output[0], "q"), ..from.clone() };
        let mut copy = n.clone();
        copy.input[0] = from.value;
        copy.output[0].clone_from(&to.value);
        self.nodes.push(copy);
        self.narrow.insert(n.output[0].clone(), to);
    }

    fn widening(&mut self, n: &NodeProto) -> Result<(), CompressError> {
        let input = self.as_narrow(&n.input[0])?;
        let dims = constant(&self.graph, &n.input[1]).map(|t| t.dims.clone()).unwrap_or_default();
        let (data, bias) = self.constants(n, &dims)?;
        let product = Product { dims: &dims, weights: &data, bias, attributes: n.attribute.clone() };
        self.multiply("Gemm", &input, &product, &n.output[0]);
        self.wide.insert(n.output[0].clone());
        Ok(())
    }

    fn product(&mut self, n: &NodeProto, activation: &Activation, result: &str) -> Result<(), CompressError> {
        let raw = n.output[0].as_str();
        let range = self.range(raw)?;
        let [scale, zero] = self.scale_and_zero(result, range);
        let to = |value: String| Narrow { value, scale: scale.clone(), zero: zero.clone(), range };
        let out = to(self.name(result, if matches!(activation, Activation::Slopes(_)) { "x" } else { "q" }));
        if n.op_type() == "Conv" {
            let input = self.as_narrow(&n.input[0])?;
            let dims = constant(&self.graph, &n.input[1]).map(|t| t.dims.clone()).unwrap_or_default();
            let (data, bias) = self.constants(n, &dims)?;
            let product = Product { dims: &dims, weights: &data, bias, attributes: n.attribute.clone() };
            let float = self.name(result, "f");
            self.multiply("Conv", &input, &product, &float);
            self.quantise(&float, &out);
        } else {
            let [a, b] = [self.as_narrow(&n.input[0])?, self.as_narrow(&n.input[1])?];
            let [a, b] = [self.dequantise(&a, result), self.dequantise(&b, &format!("{result}_2"))];
            let float = self.name(result, "f");
            let mut sum = n.clone();
            (sum.input, sum.output) = (vec![a, b], vec![float.clone()]);
            self.nodes.push(sum);
            self.quantise(&float, &out);
        }
        let out = match activation {
            Activation::Slopes(slopes) => {
                let sloped = to(self.name(result, "ax"));
                let channels = i64::try_from(slopes.len()).unwrap_or(i64::MAX);
                let attributes = vec![ints("kernel_shape", &[1, 1]), int("group", channels)];
                let dims = [channels, 1, 1, 1];
                let product = Product { dims: &dims, weights: slopes, bias: vec![0.0; slopes.len()], attributes };
                let float = self.name(result, "axf");
                self.multiply("Conv", &out, &product, &float);
                self.quantise(&float, &sloped);
                let larger = to(self.name(result, "q"));
                self.nodes.push(node("Max", &[&out.value, &sloped.value], &larger.value));
                larger
            }
            Activation::None | Activation::Relu => out,
        };
        self.narrow.insert(result.into(), out);
        Ok(())
    }

    /// A product of an 8-bit value with constants, to a float value that a QuantizeLinear may follow.
    fn multiply(&mut self, op: &str, input: &Narrow, product: &Product<'_>, float: &str) {
        let q = weights::quantise(product.weights, &product.bias, input.range.scale);
        let rows = [i64::try_from(q.scales.len()).unwrap_or(i64::MAX)];
        let x = self.dequantise(input, float);
        let [w, ws, wz, wf, b, bs, bz, bf] =
            ["w", "w_scale", "w_zero", "w_f", "b", "b_scale", "b_zero", "b_f"].map(|part| self.name(float, part));
        self.graph.initializer.extend([
            i8_tensor(&w, product.dims, &q.weights),
            f32_tensor(&ws, &rows, &q.scales),
            i8_tensor(&wz, &rows, &vec![0; q.scales.len()]),
            i32_tensor(&b, &rows, &q.bias),
            f32_tensor(&bs, &rows, &q.bias_scales),
            i32_tensor(&bz, &rows, &vec![0; q.scales.len()]),
        ]);
        for (from, scale, zero, to) in [(&w, &ws, &wz, &wf), (&b, &bs, &bz, &bf)] {
            let mut dequantise = node("DequantizeLinear", &[from, scale, zero], to);
            dequantise.attribute.push(int("axis", 0));
            self.nodes.push(dequantise);
        }
        let mut n = node(op, &[&x, &wf, &bf], float);
        n.attribute.clone_from(&product.attributes);
        self.nodes.push(n);
    }

    fn quantise(&mut self, float: &str, to: &Narrow) {
        self.nodes.push(node("QuantizeLinear", &[float, &to.scale, &to.zero], &to.value));
    }

    /// A float copy of an 8-bit value for one reader: the fusion wants each to have its own.
    fn dequantise(&mut self, from: &Narrow, reader: &str) -> String {
        let name = self.name(reader, "in");
        self.nodes.push(node("DequantizeLinear", &[&from.value, &from.scale, &from.zero], &name));
        name
    }

    /// Sees to it that the value is there as floats under its own name.
    fn as_float(&mut self, value: &str) {
        if self.wide.contains(value) {
            return;
        }
        if let Some(from) = self.narrow.get(value).cloned() {
            self.nodes.push(node("DequantizeLinear", &[&from.value, &from.scale, &from.zero], value));
            self.wide.insert(value.into());
        }
    }

    /// The value in 8 bits, converted where it is float.
    fn as_narrow(&mut self, value: &str) -> Result<Narrow, CompressError> {
        if let Some(there) = self.narrow.get(value) {
            return Ok(there.clone());
        }
        let range = self.range(value)?;
        let [scale, zero] = self.scale_and_zero(value, range);
        let to = Narrow { value: self.name(value, "q"), scale, zero, range };
        self.quantise(value, &to);
        self.narrow.insert(value.into(), to.clone());
        Ok(to)
    }

    fn range(&self, value: &str) -> Result<Range, CompressError> {
        let missing = || CompressError::Observation { value: value.into(), why: "was not calibrated" };
        self.ranges.get(value).copied().ok_or_else(missing)
    }

    fn scale_and_zero(&mut self, value: &str, range: Range) -> [String; 2] {
        let [scale, zero] = ["scale", "zero"].map(|part| self.name(value, part));
        self.graph.initializer.push(f32_tensor(&scale, &[], &[range.scale]));
        self.graph.initializer.push(raw_tensor(&zero, &[], DataType::Uint8, vec![range.zero]));
        [scale, zero]
    }

    /// Weights and bias of a product; zeros where it has no bias.
    fn constants(&self, n: &NodeProto, dims: &[i64]) -> Result<(Vec<f32>, Vec<f32>), CompressError> {
        let data = |t: &TensorProto| f32_data(t);
        let weights = constant(&self.graph, &n.input[1]).map(data).transpose()?.unwrap_or_default();
        let rows = dims.first().and_then(|d| usize::try_from(*d).ok()).unwrap_or(0);
        let bias = n.input.get(2).filter(|b| !b.is_empty()).and_then(|b| constant(&self.graph, b));
        Ok((weights, bias.map(data).transpose()?.unwrap_or_else(|| vec![0.0; rows])))
    }

    /// A new name for something that belongs to a value.
    fn name(&self, value: &str, part: &str) -> String {
        let base = format!("{value}/{part}");
        let taken = |name: &str| self.nodes.iter().any(|n| n.output.iter().any(|o| o == name));
        let mut name = fresh_name(&self.graph, &base);
        while taken(&name) {
            name.push('_');
        }
        name
    }
}
