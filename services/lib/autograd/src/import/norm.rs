//! Normalisations and activations, joined where one follows the other.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
};

use super::{Builder, tensors::Tensor, unsupported};
use crate::{
    Error, Kind, Norm,
    graph::Arg,
    ops::{LayerNorm, NormAct, Running, Slope, Softmax},
};

impl<'m> Builder<'m> {
    pub(super) fn batch_norm(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.channels_last(&x);
        let channels = match x.dims.as_slice() {
            &[c] | &[c, _, _] if x.batched => c,
            _ => return Err(unsupported(node, "its input is neither pictures nor vectors")),
        };
        let scale = self.input(node, 1, Kind::Norm)?;
        let shift = self.input(node, 2, Kind::Norm)?;
        let statistics = [3, 4].map(|i| self.fixed(node, i).filter(|v| v.len() == channels));
        let [Some(mean), Some(variance)] = statistics else {
            return Err(unsupported(node, "its statistics are not constants, one for each channel"));
        };
        if scale.len() != channels || shift.len() != channels {
            return Err(unsupported(node, "its scale and shift are not one for each channel"));
        }
        let float = |name: &str, other: f32| attribute(node, name).map_or(other, |a| a.f());
        let running = Running {
            names: [node.input[3].clone(), node.input[4].clone()],
            values: [mean, variance],
            epsilon: float("epsilon", 1e-5),
            momentum: float("momentum", 0.9),
            of_batch: self.options.norm == Norm::Batch && self.index >= self.first_trained,
        };
        let inputs = vec![x.arg, scale.arg, shift.arg];
        let op = NormAct {
            channels,
            running: Some(running),
            scale: Some(1),
            shift: Some(2),
            slope: Slope::Fixed(1.0),
            last: Default::default(),
        };
        match self.follower(node, &["PRelu", "Relu", "LeakyRelu"]) {
            Some(follower) => self.finish(follower, (op, inputs), &x),
            None => {
                let arg = self.emit(op, inputs, x.len(), true);
                self.bind(node, Tensor { arg, ..x });
                Ok(())
            }
        }
    }

    /// An activation that follows nothing it could be joined to.
    pub(super) fn activation(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = if node.op_type() == "PRelu" { self.channels_last(&x) } else { x };
        self.activate(self.index, &x, None)
    }

    /// The activation at `index`, on `x` with a bias.
    pub(super) fn activate(&mut self, index: usize, x: &Tensor, bias: Option<Tensor>) -> Result<(), Error> {
        let channels = x.memory().last().copied().unwrap_or(1);
        let mut inputs = vec![x.arg];
        let shift = bias.map(|b| {
            inputs.push(b.arg);
            inputs.len() - 1
        });
        let op =
            NormAct { channels, running: None, scale: None, shift, slope: Slope::Fixed(1.0), last: Default::default() };
        self.finish(index, (op, inputs), x)
    }

    /// Gives the operator the slope of the activation at `index`, and binds what that makes.
    fn finish(&mut self, index: usize, (mut op, mut inputs): (NormAct, Vec<Arg>), x: &Tensor) -> Result<(), Error> {
        let node = &self.nodes[index];
        let before = std::mem::replace(&mut self.index, index);
        op.slope = match node.op_type() {
            "Relu" => Slope::Fixed(0.0),
            "LeakyRelu" => Slope::Fixed(attribute(node, "alpha").map_or(0.01, |a| a.f())),
            _ => {
                let slope = self.input(node, 1, Kind::Slope)?;
                let per_channel = match (x.dims.len(), slope.dims.as_slice()) {
                    (3, [.., c, 1, 1]) if x.channels_last => *c == op.channels,
                    (1, [.., c]) => *c == op.channels && slope.len() == *c,
                    _ => false,
                };
                if !per_channel && slope.len() != 1 {
                    return Err(unsupported(node, "its slope is neither one for each channel nor one for all"));
                }
                inputs.push(slope.arg);
                Slope::Input(inputs.len() - 1)
            }
        };
        self.index = before;
        self.joined.insert(index);
        let arg = self.emit(op, inputs, x.len(), x.batched);
        self.bind(node, Tensor { arg, ..x.clone() });
        Ok(())
    }

    pub(super) fn layer_norm(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        let scale = self.input(node, 1, Kind::Norm)?;
        let shift = self.optional(node, 2, Kind::Norm)?;
        let axis = x.axis(int_attribute(node, "axis").unwrap_or(-1));
        let axis = axis.ok_or_else(|| unsupported(node, "it goes over the samples"))?;
        let len = x.dims[axis..].iter().product();
        if scale.len() != len || shift.as_ref().is_some_and(|s| s.len() != len) || node.output.len() > 1 {
            return Err(unsupported(
                node,
                "its scale and shift are not one for each value, or more than one output is asked for",
            ));
        }
        let epsilon = attribute(node, "epsilon").map_or(1e-5, |a| a.f());
        let mut inputs = vec![x.arg, scale.arg];
        inputs.extend(shift.map(|s| s.arg));
        let arg = self.emit(LayerNorm { len, epsilon }, inputs, x.len(), x.batched);
        self.bind(node, Tensor { arg, ..x });
        Ok(())
    }

    pub(super) fn softmax(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.plain(&x);
        // Before operator set 13 everything from the axis on was one.
        let axis = x.axis(int_attribute(node, "axis").unwrap_or(if self.operator_set < 13 { 1 } else { -1 }));
        let last = axis.is_some_and(|a| a + 1 == x.dims.len());
        let axis = axis
            .filter(|_| last || self.operator_set < 13)
            .ok_or_else(|| unsupported(node, "it goes along another axis than the last"))?;
        let len = x.dims[axis..].iter().product();
        let arg = self.emit(Softmax { len }, vec![x.arg], x.len(), x.batched);
        self.bind(node, Tensor { arg, ..x });
        Ok(())
    }
}
