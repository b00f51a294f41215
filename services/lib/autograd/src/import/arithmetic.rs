//! Functions of one value and arithmetic on two tensors, with the broadcasting of ONNX.

use onnx::{
    graph::{attribute, int_attribute},
    proto::NodeProto,
};

use super::{Bound, Builder, tensors::Tensor, unsupported};
use crate::{
    Error, Kind,
    graph::Arg,
    kernels::Unary,
    ops::{Arithmetic, Binary, Dropout, Function, Strides},
};

impl<'m> Builder<'m> {
    pub(super) fn function(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let function = match node.op_type() {
            "Sigmoid" => Unary::Sigmoid,
            "Tanh" => Unary::Tanh,
            "Exp" => Unary::Exp,
            "Erf" => Unary::Erf,
            "Sqrt" => Unary::Sqrt,
            "Reciprocal" => Unary::Reciprocal,
            "Neg" => Unary::Line(-1.0, 0.0),
            _ => Unary::Gelu,
        };
        let approximate = attribute(node, "approximate").is_some_and(|a| a.s() != b"none");
        if function == Unary::Gelu && approximate {
            return Err(unsupported(node, "its approximation is not known"));
        }
        let x = self.input(node, 0, Kind::Weight)?;
        self.apply(node, function, &x)
    }

    fn apply(&mut self, node: &'m NodeProto, function: Unary, x: &Tensor) -> Result<(), Error> {
        let arg = self.emit(Function(function), vec![x.arg], x.len(), x.batched);
        self.bind(node, Tensor { arg, ..x.clone() });
        Ok(())
    }

    pub(super) fn power(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let Some(&[exponent]) = self.fixed(node, 1).as_deref() else {
            return Err(unsupported(node, "its exponent is not one constant"));
        };
        self.apply(node, if exponent == 0.5 { Unary::Sqrt } else { Unary::Power(exponent) }, &x)
    }

    pub(super) fn dropout(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let x = self.input(node, 0, Kind::Weight)?;
        let given = self.fixed(node, 1).and_then(|r| r.first().copied());
        let ratio = attribute(node, "ratio").map(|a| a.f()).or(given).unwrap_or(0.5);
        if !(0.0..1.0).contains(&ratio) {
            return Err(unsupported(node, "its ratio is not a share"));
        }
        if ratio == 0.0 {
            return self.same(node);
        }
        let arg = self.emit(Dropout { ratio }, vec![x.arg], x.len(), x.batched);
        self.bind(node, Tensor { arg, ..x });
        Ok(())
    }

    pub(super) fn same(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let name = node.input.first().cloned().unwrap_or_default();
        if let Some(Bound::Sizes(sizes)) = self.bound.get(&name).cloned() {
            self.bind_sizes(node, sizes);
            return Ok(());
        }
        let x = self.input(node, 0, Kind::Weight)?;
        self.bind(node, x);
        Ok(())
    }

    pub(super) fn cast(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        let name = node.input.first().map(String::as_str).unwrap_or_default();
        if self.sizes(name).is_some() || int_attribute(node, "to") == Some(1) {
            return match self.sizes(name) {
                Some(sizes) => {
                    self.bind_sizes(node, sizes);
                    Ok(())
                }
                None => self.same(node),
            };
        }
        Err(unsupported(node, "another type than f32"))
    }

    pub(super) fn arithmetic(&mut self, node: &'m NodeProto) -> Result<(), Error> {
        if let Some((side, value)) = self.scalar(node) {
            return self.with_scalar(node, side, value);
        }
        let arithmetic = match node.op_type() {
            "Add" => Arithmetic::Add,
            "Sub" => Arithmetic::Sub,
            "Mul" => Arithmetic::Mul,
            _ => Arithmetic::Div,
        };
        let kind = if matches!(arithmetic, Arithmetic::Add | Arithmetic::Sub) { Kind::Bias } else { Kind::Norm };
        let (a, b) = (self.operand(node, 0, kind)?, self.operand(node, 1, kind)?);
        let last = a.channels_last || b.channels_last;
        let (a, b) = if last { (self.channels_last(&a), self.channels_last(&b)) } else { (a, b) };
        let rank = a.rank().max(b.rank());
        let batched = a.batched || b.batched;
        let aligned = |t: &Tensor| aligned(t, rank, batched).ok_or_else(|| unsupported(node, "its inputs do not fit"));
        let (left, right) = (aligned(&a)?, aligned(&b)?);
        let dims: Option<Vec<usize>> = left.iter().zip(&right).map(|(x, y)| broadcast(*x, *y)).collect();
        let dims = dims.ok_or_else(|| unsupported(node, "the sizes of its inputs do not fit"))?;
        let last = last && dims.len() == 3;
        let sides = [strides(&a, &left, &dims, last), strides(&b, &right, &dims, last)];
        let len = dims.iter().product();
        let arg = self.emit(Binary { arithmetic, sides, batched }, vec![a.arg, b.arg], len, batched);
        self.bind(node, Tensor { arg, dims, batched, channels_last: last });
        Ok(())
    }

    /// A constant of one value on one side of the node, and something else on the other.
    fn scalar(&self, node: &NodeProto) -> Option<(usize, f32)> {
        let one = |side: usize| match self.fixed(node, side).as_deref() {
            Some(&[value]) => Some((side, value)),
            _ => None,
        };
        one(1).or_else(|| one(0)).filter(|(side, _)| self.bound.contains_key(&node.input[1 - side]))
    }

    fn with_scalar(&mut self, node: &'m NodeProto, side: usize, c: f32) -> Result<(), Error> {
        let x = self.input(node, 1 - side, Kind::Weight)?;
        let function = match (node.op_type(), side) {
            ("Add", _) => Unary::Line(1.0, c),
            ("Sub", 1) => Unary::Line(1.0, -c),
            ("Sub", _) => Unary::Line(-1.0, c),
            ("Mul", _) => Unary::Line(c, 0.0),
            (_, 1) => Unary::Line(1.0 / c, 0.0),
            _ => {
                let arg = self.emit(Function(Unary::Reciprocal), vec![x.arg], x.len(), x.batched);
                return self.apply(node, Unary::Line(c, 0.0), &Tensor { arg, ..x });
            }
        };
        self.apply(node, function, &x)
    }

    /// One side. A constant that meets the input before any weight did is part of how pictures are prepared: it is not
    /// trained.
    fn operand(&mut self, node: &NodeProto, side: usize, kind: Kind) -> Result<Tensor, Error> {
        let other = match self.bound.get(&node.input[1 - side]) {
            Some(Bound::Tensor(Tensor { arg: Arg::Value(v), .. })) => Some(*v),
            _ => None,
        };
        let prepares = other.is_some_and(|v| !self.weighed.contains(&v));
        match (self.fixed(node, side), self.constant_dims(node, side)) {
            (Some(values), Some(dims)) if prepares => Ok(self.constant_tensor(values, dims)),
            _ => self.input(node, side, kind),
        }
    }
}

/// The tensor's sizes beside the samples' axis, with ones in front, for a result of this rank.
fn aligned(tensor: &Tensor, rank: usize, batched: bool) -> Option<Vec<usize>> {
    let missing = rank - tensor.rank();
    if tensor.batched {
        return (missing == 0).then(|| tensor.dims.clone());
    }
    let mut dims = vec![1; missing];
    dims.extend(&tensor.dims);
    if batched {
        return (dims.first() == Some(&1)).then(|| dims[1..].to_vec());
    }
    Some(dims)
}

fn broadcast(a: usize, b: usize) -> Option<usize> {
    (a == b || a == 1 || b == 1).then(|| a.max(b))
}

/// How a tensor is read along a result of the sizes `dims`.
fn strides(tensor: &Tensor, own: &[usize], dims: &[usize], last: bool) -> Strides {
    // Axes in the order of memory.
    let order = |last: bool| if last { vec![1, 2, 0] } else { (0..dims.len()).collect::<Vec<_>>() };
    let mut step_of = vec![0; dims.len()];
    let mut step = 1;
    for axis in order(tensor.channels_last && dims.len() == 3).into_iter().rev() {
        step_of[axis] = if own[axis] == 1 { 0 } else { step };
        step *= own[axis];
    }
    let order = order(last);
    Strides {
        dims: order.iter().map(|a| dims[*a]).collect(),
        steps: order.iter().map(|a| step_of[*a]).collect(),
        of_sample: if tensor.batched { tensor.len() } else { 0 },
    }
}
