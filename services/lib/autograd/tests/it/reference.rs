//! The operators of ONNX in double precision, written for clearness alone: what the engine is held against.

use std::collections::HashMap;

use onnx::{
    ModelProto,
    graph::{attribute, int_attribute},
    proto::{GraphProto, NodeProto},
    tensor,
};

use crate::reference_shapes as shapes;

/// A tensor, axes as in the ONNX graph, the samples' in front.
#[derive(Clone, Debug)]
pub struct Wide {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
}

impl Wide {
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { dims: self.dims.clone(), values: self.values.iter().map(|v| f(*v)).collect() }
    }
}

/// A model in double precision.
pub struct Reference<'m> {
    graph: &'m GraphProto,
    /// Batch normalisations use the batch's own statistics.
    of_batch: bool,
}

/// Values by name.
pub struct Scope<'s> {
    pub graph: &'s GraphProto,
    pub values: HashMap<String, Wide>,
    changed: &'s HashMap<String, Vec<f64>>,
}

impl Scope<'_> {
    /// What the node reads at this place.
    pub fn input(&self, node: &NodeProto, index: usize) -> Wide {
        self.optional(node, index).unwrap_or_else(|| panic!("{} has no input {index}", node.op_type()))
    }

    pub fn optional(&self, node: &NodeProto, index: usize) -> Option<Wide> {
        let name = node.input.get(index).filter(|n| !n.is_empty())?;
        if let Some(value) = self.values.get(name) {
            return Some(value.clone());
        }
        let constant = onnx::graph::constant(self.graph, name)?;
        let dims = constant.dims.iter().map(|d| *d as usize).collect();
        let values = match self.changed.get(name) {
            Some(values) => values.clone(),
            None => tensor::f32_data(constant).ok()?.into_iter().map(f64::from).collect(),
        };
        Some(Wide { dims, values })
    }

    pub fn ints(&self, node: &NodeProto, index: usize) -> Option<Vec<i64>> {
        onnx::graph::constant_ints(self.graph, node.input.get(index)?)
    }
}

impl<'m> Reference<'m> {
    pub fn new(model: &'m ModelProto, of_batch: bool) -> Self {
        Self { graph: model.graph.as_ref().expect("a graph"), of_batch }
    }

    /// The output for these samples, with some weights changed.
    pub fn run(&self, batch: &[f64], n: usize, changed: &HashMap<String, Vec<f64>>) -> Vec<f64> {
        let mut scope = Scope { graph: self.graph, values: HashMap::new(), changed };
        let input = self.graph.input.first().expect("an input");
        let dims = shapes::declared(input, n);
        scope.values.insert(input.name().into(), Wide { dims, values: batch.to_vec() });
        for node in &self.graph.node {
            for (name, value) in node.output.iter().zip(self.node(&scope, node)) {
                scope.values.insert(name.clone(), value);
            }
        }
        scope.values[self.graph.output[0].name()].values.clone()
    }

    fn node(&self, scope: &Scope<'_>, node: &NodeProto) -> Vec<Wide> {
        let x = scope.optional(node, 0);
        let x = || x.clone().unwrap_or_else(|| panic!("{} reads nothing", node.op_type()));
        let float = |name: &str, other: f32| f64::from(attribute(node, name).map_or(other, |a| a.f()));
        let made = match node.op_type() {
            "Relu" => x().map(|v| v.max(0.0)),
            "LeakyRelu" => x().map(|v| if v > 0.0 { v } else { v * float("alpha", 0.01) }),
            "Sigmoid" => x().map(|v| 1.0 / (1.0 + (-v).exp())),
            "Tanh" => x().map(f64::tanh),
            "Exp" => x().map(f64::exp),
            "Erf" => x().map(erf),
            "Gelu" => x().map(|v| 0.5 * v * (1.0 + erf(v / 2f64.sqrt()))),
            "Sqrt" => x().map(f64::sqrt),
            "Reciprocal" => x().map(|v| 1.0 / v),
            "Neg" => x().map(|v| -v),
            "Identity" | "Dropout" => x(),
            "Pow" => {
                let power = scope.input(node, 1).values[0];
                x().map(|v| v.powf(power))
            }
            "PRelu" => {
                let slopes = scope.input(node, 1);
                shapes::broadcast(&x(), &slopes, |v, s| if v > 0.0 { v } else { v * s })
            }
            "Add" => shapes::broadcast(&x(), &scope.input(node, 1), |a, b| a + b),
            "Sub" => shapes::broadcast(&x(), &scope.input(node, 1), |a, b| a - b),
            "Mul" => shapes::broadcast(&x(), &scope.input(node, 1), |a, b| a * b),
            "Div" => shapes::broadcast(&x(), &scope.input(node, 1), |a, b| a / b),
            "Conv" => conv(scope, node, &x()),
            "MaxPool" | "AveragePool" => pool(node, &x()),
            "BatchNormalization" => self.batch_norm(scope, node, &x()),
            "LayerNormalization" => layer_norm(scope, node, &x()),
            "Softmax" => rows(&x(), |row| {
                let most = row.iter().copied().fold(f64::MIN, f64::max);
                let sum: f64 = row.iter().map(|v| (v - most).exp()).sum();
                row.iter().map(|v| (v - most).exp() / sum).collect()
            }),
            "Gemm" | "MatMul" => shapes::product(scope, node, &x()),
            _ => return shapes::node(scope, node, &x()),
        };
        vec![made]
    }

    fn batch_norm(&self, scope: &Scope<'_>, node: &NodeProto, x: &Wide) -> Wide {
        let [scale, shift, mean, variance] = [1, 2, 3, 4].map(|i| scope.input(node, i).values);
        let epsilon = f64::from(attribute(node, "epsilon").map_or(1e-5, |a| a.f()));
        let (channels, pixels) = (x.dims[1], x.dims[2..].iter().product::<usize>());
        let mut made = x.clone();
        for c in 0..channels {
            let places: Vec<usize> =
                (0..x.dims[0]).flat_map(|n| (0..pixels).map(move |p| (n * channels + c) * pixels + p)).collect();
            let count = places.len() as f64;
            let (mut m, mut v) = (mean[c], variance[c]);
            if self.of_batch {
                m = places.iter().map(|p| x.values[*p]).sum::<f64>() / count;
                v = places.iter().map(|p| (x.values[*p] - m).powi(2)).sum::<f64>() / count;
            }
            for place in places {
                made.values[place] = (x.values[place] - m) / (v + epsilon).sqrt() * scale[c] + shift[c];
            }
        }
        made
    }
}

/// Applies a function to every row of the last axis.
fn rows(x: &Wide, f: impl Fn(&[f64]) -> Vec<f64>) -> Wide {
    let len = *x.dims.last().expect("an axis");
    Wide { dims: x.dims.clone(), values: x.values.chunks(len).flat_map(f).collect() }
}

fn layer_norm(scope: &Scope<'_>, node: &NodeProto, x: &Wide) -> Wide {
    let (scale, shift) = (scope.input(node, 1).values, scope.optional(node, 2));
    let epsilon = f64::from(attribute(node, "epsilon").map_or(1e-5, |a| a.f()));
    rows(x, |row| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let one = |(i, v): (usize, &f64)| {
            (v - mean) / (variance + epsilon).sqrt() * scale[i] + shift.as_ref().map_or(0.0, |s| s.values[i])
        };
        row.iter().enumerate().map(one).collect()
    })
}

/// Numbers of an attribute, or others.
fn numbers<const N: usize>(node: &NodeProto, name: &str, other: usize) -> [usize; N] {
    let ints = attribute(node, name).map(|a| a.ints.iter().map(|i| *i as usize).collect::<Vec<_>>());
    ints.map_or([other; N], |ints| ints.try_into().expect("as many numbers"))
}

/// Calls `each` with every output pixel, and the place of the input behind each tap that lies within.
fn windows(
    node: &NodeProto,
    x: &Wide,
    kernel: [usize; 2],
    mut each: impl FnMut(usize, &[(usize, usize)]),
) -> [usize; 2] {
    let (stride, pads) = (numbers::<2>(node, "strides", 1), numbers::<4>(node, "pads", 0));
    let size = |axis: usize| (x.dims[2 + axis] + pads[axis] + pads[axis + 2] - kernel[axis]) / stride[axis] + 1;
    let (height, width) = (size(0), size(1));
    for output in 0..height * width {
        let mut within = Vec::new();
        for tap in 0..kernel[0] * kernel[1] {
            let row = (output / width * stride[0] + tap / kernel[1]).wrapping_sub(pads[0]);
            let column = (output % width * stride[1] + tap % kernel[1]).wrapping_sub(pads[1]);
            if row < x.dims[2] && column < x.dims[3] {
                within.push((tap, row * x.dims[3] + column));
            }
        }
        each(output, &within);
    }
    [height, width]
}

fn conv(scope: &Scope<'_>, node: &NodeProto, x: &Wide) -> Wide {
    let (weights, bias) = (scope.input(node, 1), scope.optional(node, 2));
    let groups = int_attribute(node, "group").unwrap_or(1) as usize;
    let [out, depth, kh, kw] = weights.dims[..] else { panic!("four axes") };
    let (n, channels, pixels, taps) = (x.dims[0], x.dims[1], x.dims[2] * x.dims[3], kh * kw);
    let mut made = Vec::new();
    let size = windows(node, x, [kh, kw], |_, within| {
        for (sample, o) in (0..n).flat_map(|s| (0..out).map(move |o| (s, o))) {
            let mut sum = bias.as_ref().map_or(0.0, |b| b.values[o]);
            for (d, (tap, place)) in (0..depth).flat_map(|d| within.iter().map(move |w| (d, *w))) {
                let channel = o / (out / groups) * depth + d;
                sum += weights.values[(o * depth + d) * taps + tap]
                    * x.values[(sample * channels + channel) * pixels + place];
            }
            made.push(sum);
        }
    });
    turned(&made, [n, out], size)
}

fn pool(node: &NodeProto, x: &Wide) -> Wide {
    let kernel = numbers::<2>(node, "kernel_shape", 1);
    let with_pad = int_attribute(node, "count_include_pad").unwrap_or(0) == 1;
    let pixels = x.dims[2] * x.dims[3];
    let mut made = Vec::new();
    let size = windows(node, x, kernel, |_, within| {
        for plane in x.values.chunks(pixels) {
            let values = within.iter().map(|(_, place)| plane[*place]);
            let count = if with_pad { kernel[0] * kernel[1] } else { within.len() };
            made.push(match node.op_type() {
                "MaxPool" => values.fold(f64::MIN, f64::max),
                _ => values.sum::<f64>() / count as f64,
            });
        }
    });
    turned(&made, [x.dims[0], x.dims[1]], size)
}

/// From pixel by pixel to plane by plane.
fn turned(made: &[f64], [n, channels]: [usize; 2], [height, width]: [usize; 2]) -> Wide {
    let planes = n * channels;
    let values = (0..made.len()).map(|i| made[i % (height * width) * planes + i / (height * width)]).collect();
    Wide { dims: vec![n, channels, height, width], values }
}

/// By its series where that is short, and by a continued fraction elsewhere.
fn erf(x: f64) -> f64 {
    if x.abs() < 3.0 {
        let (mut sum, mut term) = (0.0, x);
        for n in 0..100 {
            sum += term / f64::from(2 * n + 1);
            term *= -x * x / f64::from(n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let fraction = (1..60).rev().fold(x.abs(), |f, k| x.abs() + f64::from(k) / 2.0 / f);
    (1.0 - (-x * x).exp() / fraction / std::f64::consts::PI.sqrt()).copysign(x)
}

/// So many places of a list, spread over it.
pub fn spread(len: usize, count: usize) -> Vec<usize> {
    let step = (len / count).max(1);
    (0..len).step_by(step).map(|i| (i + i / step * 3 % step.max(1)).min(len - 1)).collect()
}
