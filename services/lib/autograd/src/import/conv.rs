//! Convolutions and pools.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
};

use super::{Builder, tensors::Tensor, unsupported};
use crate::{
    Error, Kind,
    kernels::Window,
    ops::{Conv, Depthwise, Grouped, Mean, Pool, Pooling, Strides},
};

/// Groups up to this size are worked on as depthwise convolutions, one for each place in a group.
const SMALL_GROUP: usize = 4;

impl<'m> Builder<'m> {
    pub(super) fn conv(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.picture(node, &x)?;
        let weights = self.input(node, 1, Kind::Weight)?;
        let &[out, depth, height, width] = weights.dims.as_slice() else {
            return Err(unsupported(node, "its weights have not four axes"));
        };
        let groups = usize::try_from(int_attribute(node, "group").unwrap_or(1)).unwrap_or(0);
        let channels = x.dims[0];
        if groups == 0 || depth * groups != channels || out % groups != 0 {
            return Err(unsupported(node, "its weights do not fit its input's channels"));
        }
        let window = window(node, &x, [height, width])?;
        let bias = self.optional(node, 2, Kind::Bias)?;
        let [oh, ow] = window.output;
        let follower = self.follower(node, &["PRelu", "Relu", "LeakyRelu"]);
        // Where an activation follows, it adds the bias on its way.
        let (own, passed) = if follower.is_some() { (None, bias) } else { (bias, None) };
        let mut inputs = vec![x.arg, weights.arg];
        inputs.extend(own.map(|b| b.arg));
        let len = oh * ow * out;
        let arg = if depth == 1 && out == channels && groups > 1 {
            self.emit(Depthwise { window }, inputs, len, true)
        } else if depth == out / groups && depth <= SMALL_GROUP && groups > 1 {
            self.emit(Grouped { window, size: depth }, inputs, len, true)
        } else {
            self.emit(Conv { window, out, groups }, inputs, len, true)
        };
        let made = Tensor { arg, dims: vec![out, oh, ow], batched: true, channels_last: true };
        match follower {
            Some(follower) => self.activate(follower, &made, passed),
            None => {
                self.bind(node, made);
                Ok(())
            }
        }
    }

    pub(super) fn pool(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let x = self.picture(node, &x)?;
        let kernel = pair(node, "kernel_shape")?.ok_or_else(|| unsupported(node, "it has no kernel_shape"))?;
        if int_attribute(node, "ceil_mode").unwrap_or(0) != 0 || node.output.len() > 1 {
            return Err(unsupported(node, "ceil_mode and a second output are not known"));
        }
        let window = window(node, &x, kernel)?;
        let pooling = match (node.op_type(), int_attribute(node, "count_include_pad").unwrap_or(0)) {
            ("MaxPool", _) => Pooling::Max,
            (_, 0) => Pooling::Mean,
            _ => Pooling::MeanWithPad,
        };
        let [oh, ow] = window.output;
        let channels = window.channels;
        let arg = self.emit(Pool { pooling, window }, vec![x.arg], oh * ow * channels, true);
        self.bind(node, Tensor { arg, dims: vec![channels, oh, ow], batched: true, channels_last: true });
        Ok(())
    }

    /// Means over pictures, and over any axes but that of the samples.
    pub(super) fn mean(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let global = node.op_type() == "GlobalAveragePool";
        let keep = global || int_attribute(node, "keepdims").unwrap_or(1) == 1;
        let axes = if global {
            (0..x.rank() as i64).skip(2).collect()
        } else {
            self.axes(node, 1)?.ok_or_else(|| unsupported(node, "it goes over all axes, that of the samples too"))?
        };
        let axes: Option<Vec<usize>> = axes.iter().map(|a| x.axis(*a)).collect();
        let axes =
            axes.ok_or_else(|| unsupported(node, "it goes over the samples, or over axes that are not there"))?;
        let (memory, order) = (x.memory(), if x.channels_last { vec![1, 2, 0] } else { (0..x.dims.len()).collect() });
        let mut steps = vec![0; memory.len()];
        let mut step = 1;
        for place in (0..memory.len()).rev() {
            if !axes.contains(&order[place]) {
                steps[place] = step;
                step *= memory[place];
            }
        }
        let arg =
            self.emit(Mean { strides: Strides { dims: memory, steps, of_sample: step } }, vec![x.arg], step, x.batched);
        let kept = |axis: &usize| !axes.contains(axis);
        let mut made = Tensor { arg, ..x.clone() };
        if keep {
            axes.iter().for_each(|a| made.dims[*a] = 1);
        } else {
            made.dims = (0..x.dims.len()).filter(kept).map(|a| x.dims[a]).collect();
            if x.channels_last && made.dims.len() == 2 && made.dims[0] > 1 && kept(&0) {
                return Err(unsupported(node, "it goes over one axis of a picture and drops it"));
            }
            made.channels_last = false;
        }
        self.bind(node, made);
        Ok(())
    }

    /// A picture with channels last.
    pub(super) fn picture(&mut self, node: &NodeProto, x: &Tensor) -> Result<Tensor, Error> {
        if x.dims.len() != 3 || !x.batched {
            return Err(unsupported(node, "its input is not a batch of pictures"));
        }
        Ok(self.channels_last(x))
    }
}

/// Two numbers, for height and width.
fn pair(node: &NodeProto, name: &str) -> Result<Option<[usize; 2]>, Error> {
    let Some(attribute) = attribute(node, name) else { return Ok(None) };
    let numbers: Option<Vec<usize>> =
        attribute.ints.iter().map(|i| usize::try_from(*i).ok().filter(|i| *i > 0)).collect();
    match numbers.as_deref() {
        Some(&[height, width]) => Ok(Some([height, width])),
        _ => Err(unsupported(node, format!("{name} is not two positive numbers"))),
    }
}

fn window(node: &NodeProto, x: &Tensor, kernel: [usize; 2]) -> Result<Window, Error> {
    let auto = attribute(node, "auto_pad").map(|a| a.s().to_vec()).unwrap_or_default();
    if !matches!(auto.as_slice(), b"" | b"NOTSET" | b"VALID") {
        return Err(unsupported(node, "auto_pad is not known"));
    }
    if pair(node, "dilations")?.is_some_and(|d| d != [1, 1]) {
        return Err(unsupported(node, "dilations are not known"));
    }
    let stride = pair(node, "strides")?.unwrap_or([1, 1]);
    let pads = attribute(node, "pads").map_or(&[][..], |a| &a.ints);
    let pads: Option<Vec<usize>> = pads.iter().map(|p| usize::try_from(*p).ok().filter(|p| *p < 1 << 16)).collect();
    let pads = match pads.as_deref() {
        Some([]) => [0; 4],
        Some(&[a, b, c, d]) => [a, b, c, d],
        _ => return Err(unsupported(node, "pads are not four numbers")),
    };
    let input = [x.dims[1], x.dims[2]];
    let mut output = [0; 2];
    for axis in 0..2 {
        let room = (input[axis] + pads[axis] + pads[axis + 2]).checked_sub(kernel[axis]);
        output[axis] =
            room.ok_or_else(|| unsupported(node, "the picture is smaller than the kernel"))? / stride[axis] + 1;
    }
    Ok(Window { channels: x.dims[0], input, output, kernel, stride, pad: [pads[0], pads[1]] })
}
