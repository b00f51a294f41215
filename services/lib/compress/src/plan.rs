//! Decides what becomes 8 bits wide. Convolutions do, with the activation behind them; sums, poolings and moves stay 8
//! bits wide between them; whatever else there is stays float, and values are converted at the border.
//! Called by the quantiser; `emit` follows the plan.

use std::collections::HashSet;

use onnx::{
    graph::{attribute, constant, constant_floats, int_attribute, only_reader, uses},
    proto::{GraphProto, NodeProto},
    rewrite::channel_slope,
};

use crate::CompressError;

/// Convolutions of fewer input channels stay float: 8-bit kernels multiply channels in fours, and gather them one by
/// one below that. Measured on the first layer of MobileFaceNet: 120 µs float, 340 µs in 8 bits.
const LEAST_CHANNELS: i64 = 4;

/// A slope above 1 by no more than this is taken as 1: less than the rounding of 8 bits.
const SLOPE_TOLERANCE: f32 = 0.05;

/// What is done with a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Copied as it is.
    Float,
    /// 8 bits wide, with the activation behind it.
    Product(Activation),
    /// Works on 8-bit values as on any.
    Transparent,
    /// Part of the node before it.
    Absorbed,
    /// A matrix product of 8-bit factors with a float result.
    ToFloat,
}

/// The activation that a product takes in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Activation {
    /// None.
    None,
    /// Negative values become zero, by the range alone.
    Relu,
    /// Negative values are multiplied with a slope per channel, at most 1: the larger of `x` and `slope · x`.
    Slopes(Vec<f32>),
}

/// A value that becomes 8 bits wide, and how its error counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Site {
    /// Its name in the float graph: that before the activation, where there is one.
    pub value: String,
    /// The activation it goes through.
    pub activation: Activation,
}

/// Roles by node, and the values whose ranges are needed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub roles: Vec<Role>,
    pub sites: Vec<Site>,
}

/// Plans a graph whose nodes are in order.
pub(crate) fn plan(graph: &GraphProto) -> Result<Plan, CompressError> {
    let mut planner =
        Planner { graph, roles: vec![Role::Float; graph.node.len()], sites: Vec::new(), narrow: HashSet::new() };
    for i in 0..graph.node.len() {
        planner.look_at(i)?;
    }
    if !planner.roles.iter().any(|r| matches!(r, Role::Product(_))) {
        return Err(CompressError::NothingToDo);
    }
    Ok(Plan { roles: planner.roles, sites: planner.sites })
}

struct Planner<'a> {
    graph: &'a GraphProto,
    roles: Vec<Role>,
    sites: Vec<Site>,
    /// Values that are there as 8 bits.
    narrow: HashSet<String>,
}

impl Planner<'_> {
    fn look_at(&mut self, i: usize) -> Result<(), CompressError> {
        if self.roles[i] == Role::Absorbed {
            return Ok(());
        }
        let node = &self.graph.node[i];
        let [Some(input), Some(output)] = [node.input.first(), node.output.first()] else { return Ok(()) };
        match node.op_type() {
            "Conv" if constant_product(self.graph, node, LEAST_CHANNELS) => {
                self.needs(input);
                self.product(i, output)?;
            }
            // Float results: what leaves a product of features is an embedding or a class, and few.
            "Gemm"
                if plain_gemm(node)
                    && constant_product(self.graph, node, LEAST_CHANNELS)
                    && self.narrow.contains(input) =>
            {
                self.roles[i] = Role::ToFloat;
            }
            "Add" if self.sum_of_values(node) => {
                for input in &node.input {
                    self.needs(input);
                }
                self.product(i, output)?;
            }
            "MaxPool" | "Flatten" | "Reshape" | "Transpose" | "Identity"
                if node.output.len() == 1 && self.narrow.contains(input) =>
            {
                self.roles[i] = Role::Transparent;
                self.narrow.insert(output.clone());
            }
            "Resize" if attribute(node, "mode").is_none_or(|m| m.s() == b"nearest") && self.narrow.contains(input) => {
                self.roles[i] = Role::Transparent;
                self.narrow.insert(output.clone());
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes a node 8 bits wide, together with an activation that is the only one to read its result.
    fn product(&mut self, i: usize, output: &str) -> Result<(), CompressError> {
        let reader = only_reader(self.graph, output);
        let position = reader.and_then(|r| self.graph.node.iter().position(|n| std::ptr::eq(n, r)));
        let activation = match reader {
            Some(r) if r.op_type() == "Relu" && r.output.len() == 1 => Activation::Relu,
            Some(r) => match channel_slope(self.graph, r)? {
                Some(slopes) if slopes.iter().all(|a| a.is_finite() && *a <= 1.0 + SLOPE_TOLERANCE) => {
                    Activation::Slopes(slopes.iter().map(|a| a.min(1.0)).collect())
                }
                _ => Activation::None,
            },
            None => Activation::None,
        };
        let result = match (&activation, position) {
            (Activation::Relu | Activation::Slopes(_), Some(at)) => {
                self.roles[at] = Role::Absorbed;
                self.graph.node[at].output[0].clone()
            }
            _ => output.to_owned(),
        };
        self.narrow.insert(result);
        self.sites.push(Site { value: output.into(), activation: activation.clone() });
        self.roles[i] = Role::Product(activation);
        Ok(())
    }

    /// A float value that a quantised node reads has to be converted.
    fn needs(&mut self, value: &str) {
        if self.narrow.insert(value.into()) {
            self.sites.push(Site { value: value.into(), activation: Activation::None });
        }
    }

    /// A sum of two values of which one is 8 bits wide already; constants and shapes that broadcast stay float.
    fn sum_of_values(&self, node: &NodeProto) -> bool {
        let [a, b] = node.input.as_slice() else { return false };
        let value = |v: &String| constant(self.graph, v).is_none() && uses(self.graph, v) > 0;
        value(a) && value(b) && self.narrow.contains(a) && self.narrow.contains(b)
    }
}

/// A Conv or Gemm with constant weights and a constant bias or none: one of so many input channels, or depthwise.
/// Groups of a few channels have no 8-bit kernel of their own: the one such layer of w600k_mbf takes 5 ms then.
fn constant_product(graph: &GraphProto, node: &NodeProto, least: i64) -> bool {
    let Some(weights) = node.input.get(1).and_then(|w| constant(graph, w)) else { return false };
    let bias = match node.input.get(2).filter(|b| !b.is_empty()) {
        Some(b) => {
            constant_floats(graph, b).is_some_and(|b| i64::try_from(b.len()).ok() == weights.dims.first().copied())
        }
        None => true,
    };
    let (rows, channels) = (weights.dims.first(), weights.dims.get(1).copied().unwrap_or(0));
    let group = int_attribute(node, "group").unwrap_or(1);
    let wide = if group == 1 { channels >= least } else { channels == 1 && rows == Some(&group) };
    let image = node.op_type() == "Gemm" || weights.dims.len() == 4;
    bias && wide && image && node.output.len() == 1 && onnx::tensor::f32_data(weights).is_ok_and(|w| !w.is_empty())
}

fn plain_gemm(node: &NodeProto) -> bool {
    let one = |name| attribute(node, name).is_none_or(|a| (a.f() - 1.0).abs() < f32::EPSILON);
    int_attribute(node, "transB") == Some(1)
        && int_attribute(node, "transA").unwrap_or(0) == 0
        && one("alpha")
        && one("beta")
}
