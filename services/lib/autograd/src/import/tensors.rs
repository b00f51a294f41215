//! Tensors by their names: values that nodes made, and constants of the file as parameters or as they are.

use onnx::{
    proto::{NodeProto, TensorProto, tensor_proto::DataType},
    tensor,
};

use super::{Bound, Builder, unsupported};
use crate::{Error, InputShape, Kind, Parameter, graph::Arg};

/// A tensor of the engine, with the sizes it has in the ONNX graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Where it comes from.
    pub arg: Arg,
    /// Sizes, without the axis of samples.
    pub dims: Vec<usize>,
    /// Whether there is an axis of samples in front of them.
    pub batched: bool,
    /// Of three axes the first (channels) lies last in memory.
    pub channels_last: bool,
}

impl Tensor {
    /// Numbers, of one sample where there are samples.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Sizes in the order of memory.
    pub fn memory(&self) -> Vec<usize> {
        match self.dims.as_slice() {
            &[c, h, w] if self.channels_last => vec![h, w, c],
            dims => dims.to_vec(),
        }
    }

    /// What a caller feeds where this is the input.
    pub fn input_shape(&self) -> InputShape {
        match self.dims.as_slice() {
            &[channels, height, width] if self.channels_last => InputShape::Image { channels, height, width },
            _ => InputShape::Flat(self.len()),
        }
    }

    /// Axes as the ONNX graph counts them.
    pub fn rank(&self) -> usize {
        self.dims.len() + usize::from(self.batched)
    }

    /// An axis as the ONNX graph numbers it, negative ones from the end, among [`Self::dims`]; none for the samples'.
    pub fn axis(&self, axis: i64) -> Option<usize> {
        let rank = i64::try_from(self.rank()).ok()?;
        let axis = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok()?;
        axis.checked_sub(usize::from(self.batched)).filter(|a| *a < self.dims.len())
    }
}

impl Builder<'_> {
    /// The tensor that the node reads at this place.
    pub fn input(&mut self, node: &NodeProto, index: usize, kind: Kind) -> Result<Tensor, Error> {
        self.optional(node, index, kind)?.ok_or_else(|| unsupported(node, format!("has no input {index}")))
    }

    /// The same, where there may be none.
    pub fn optional(&mut self, node: &NodeProto, index: usize, kind: Kind) -> Result<Option<Tensor>, Error> {
        let Some(name) = node.input.get(index).filter(|n| !n.is_empty()) else { return Ok(None) };
        match self.bound.get(name) {
            Some(Bound::Tensor(tensor)) => return Ok(Some(tensor.clone())),
            Some(Bound::Sizes(_)) => return Err(unsupported(node, format!("computes with the sizes `{name}`"))),
            None => {}
        }
        let Some(constant) = self.constants.get(name.as_str()).copied() else {
            return Err(unsupported(node, format!("reads `{name}`, which no node before it makes")));
        };
        let values = tensor::f32_data(constant)?;
        if values.is_empty() {
            return Ok(None);
        }
        let dims = sizes(constant);
        let arg = self.hold(name, constant, values, kind);
        Ok(Some(Tensor { arg, dims, batched: false, channels_last: false }))
    }

    /// A constant of the file: trained, where the node is and the file holds it beside the nodes.
    fn hold(&mut self, name: &str, constant: &TensorProto, values: Vec<f32>, kind: Kind) -> Arg {
        let trained = self.index >= self.first_trained && constant.name() == name && !self.within_node(name);
        if !trained {
            self.graph.constants.push(values);
            return Arg::Constant(self.graph.constants.len() - 1);
        }
        let parameters = &mut self.graph.parameters;
        let index = *self.parameters.entry(name.into()).or_insert_with(|| {
            let gradient = vec![0.0; values.len()];
            parameters.push(Parameter { name: name.into(), kind, value: values, gradient });
            parameters.len() - 1
        });
        Arg::Parameter(index)
    }

    /// Whether a constant is an attribute of a node: nodes stay as they are.
    fn within_node(&self, name: &str) -> bool {
        self.nodes.iter().any(|n| n.op_type() == "Constant" && n.output.iter().any(|o| o == name))
    }

    /// The constant that the node reads at this place, not trained.
    pub fn fixed(&self, node: &NodeProto, index: usize) -> Option<Vec<f32>> {
        let name = node.input.get(index).filter(|n| !self.bound.contains_key(n.as_str()))?;
        self.constants.get(name.as_str()).and_then(|t| tensor::f32_data(t).ok())
    }

    /// A tensor that stays as it is.
    pub fn constant_tensor(&mut self, values: Vec<f32>, dims: Vec<usize>) -> Tensor {
        self.graph.constants.push(values);
        let arg = Arg::Constant(self.graph.constants.len() - 1);
        Tensor { arg, dims, batched: false, channels_last: false }
    }

    /// The sizes of the constant that the node reads at this place.
    pub fn constant_dims(&self, node: &NodeProto, index: usize) -> Option<Vec<usize>> {
        let name = node.input.get(index).filter(|n| !self.bound.contains_key(n.as_str()))?;
        let constant = self.constants.get(name.as_str())?;
        (constant.data_type() == i32::from(DataType::Float)).then(|| sizes(constant))
    }
}

fn sizes(constant: &TensorProto) -> Vec<usize> {
    constant.dims.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect()
}
